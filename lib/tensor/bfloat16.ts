// A bfloat16 number is the upper half of a float32. Arrays contain its 16 bits.

const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);

/** @internal Returns the bits of the bfloat16 nearest to a number, ties to even. Every NaN gives the same bits. */
export function bfloat16Bits(value: number): number {
  float[0] = value;
  const bits = word[0] as number;
  if (Number.isNaN(value)) return 0x7fff;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) / 0x10000) & 0xffff;
}

/** @internal Returns the number that 16 bits of a bfloat16 represent. */
export function bfloat16Value(bits: number): number {
  word[0] = bits << 16;
  return float[0] as number;
}
