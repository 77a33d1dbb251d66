// Arithmetic of vectors. All vectors of a call have the same length.

/** Returns the inner product Σ aᵢbᵢ. */
export function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** Returns the Euclidean norm. */
export function norm(vector: Float64Array): number {
  return Math.sqrt(dot(vector, vector));
}

/** Returns a − b, elementwise. */
export function minus(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, i) => value - b[i]!);
}

/** Returns a·b, elementwise. */
export function times(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, i) => value * b[i]!);
}

/** Returns a vector times a number. */
export function scaled(vector: Float64Array, factor: number): Float64Array {
  return vector.map((value) => value * factor);
}

/** Adds a multiple of a vector to another, in place. */
export function addMultiple(sum: Float64Array, factor: number, vector: Float64Array): void {
  for (let k = 0; k < sum.length; k++) sum[k]! += factor * vector[k]!;
}
