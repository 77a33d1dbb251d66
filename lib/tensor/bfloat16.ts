// A bfloat16 number is the upper half of a float32. Arrays contain its 16 bits.

const word = new DataView(new ArrayBuffer(4));

/** @internal Returns the bits of the bfloat16 nearest to a number, ties to even. Every NaN gives the same bits. */
export function bfloat16Bits(value: number): number {
  word.setFloat32(0, value);
  const bits = word.getUint32(0);
  if (Number.isNaN(value)) return 0x7fff;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) / 0x10000) & 0xffff;
}

/** @internal Returns the number that 16 bits of a bfloat16 represent. */
export function bfloat16Value(bits: number): number {
  word.setUint32(0, bits << 16);
  return word.getFloat32(0);
}
