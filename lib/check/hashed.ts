// Deterministic numbers, the same as in test/golden/hashed.py.

/** Returns an integer in [0, 2¹⁶) from an index and a salt, by the finalizer of MurmurHash3. */
function hash(index: number, salt: number): number {
  let h = (Math.imul(index + 1, 0x9e3779b1) + Math.imul(salt, 0x85ebca77)) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b) >>> 0;
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35) >>> 0;
  return (h ^ (h >>> 16)) >>> 16;
}

/** Returns numbers in [center − 1, center + 1). They are multiples of 2⁻¹⁵, which float32 holds exactly. */
export function numbers(count: number, salt: number, center = 0): Float32Array {
  const found = new Float32Array(count);
  for (let i = 0; i < count; i++) found[i] = hash(i, salt) / 32768 - 1 + center;
  return found;
}

/** Returns integers in [0, below). */
export function labelsOf(count: number, salt: number, below: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => hash(i, salt) % below);
}
