import { invalidArgument, StepsizeError } from "../errors.js";
import type { JacobiMatrix } from "./spectral-measure.js";
import { topEigenvector } from "./top-eigenvector.js";
import { tridiagonalised } from "./tridiagonal.js";

/** A symmetric matrix, as what it does to a vector. The result is a new array; the argument is not to be kept. */
export type Product = (vector: Float64Array) => Float64Array | Promise<Float64Array>;

/** Options of {@link lanczos}. */
export interface LanczosOptions {
  /** Products at most. */
  readonly steps: number;
  /** Called after each product with the number made so far; `false` ends it there. */
  readonly onStep?: ((done: number) => unknown) | undefined;
}

/** What {@link lanczos} found. */
export interface Lanczos {
  /** The matrix in the Krylov space of the start vector. */
  readonly matrix: JacobiMatrix;
  /**
   * The largest part of a product that a symmetric matrix would not have: rounding for exact products; for measured ones
   * a measure of their error.
   */
  readonly asymmetry: number;
  /** A unit vector: the Ritz vector of the largest Ritz value. */
  largest(): Float64Array;
}

/**
 * The Lanczos process with full reorthogonalisation: a symmetric matrix in the Krylov space of a start vector, where it is
 * tridiagonal. Each product is made orthogonal to all earlier directions twice, after which nothing is left to gain
 * (Giraud, Langou, Rozložník & van den Eshof 2005).
 *
 * Products may have errors. Then a new direction is in part the error that it was made from, and the length that
 * belongs there is too large: taken as it is it would invent curvature at both ends. What the next product has along
 * earlier directions says the same and does not know that error, so the matrix is made of that part alone (its upper
 * triangle, a Rayleigh–Ritz projection) and brought into tridiagonal form again. For exact products nothing changes.
 *
 * For vectors of n numbers and m steps: m products, 8n(m + 1) bytes, 8nm² operations.
 *
 * @param start a vector that is not zero; its length does not matter
 * @throws StepsizeError `non-finite` for a product that is not finite
 */
export async function lanczos(product: Product, start: Float64Array, options: LanczosOptions): Promise<Lanczos> {
  const { steps, onStep } = options;
  const basis = [scaled(start, 1 / norm(start))];
  // Column j: what the product of direction j has along directions 0 to j.
  const columns: Float64Array[] = [];
  const lengths: number[] = [];
  // More than rounding leaves of a product of this size.
  let rounding = 0;
  for (;;) {
    const made = await product(basis.at(-1)!);
    if (made?.length !== start.length) invalidArgument("product", `a function to ${start.length} numbers`, made);
    rounding = Math.max(rounding, 1e-13 * norm(made));
    columns.push(orthogonalise(made, basis));
    const left = norm(made);
    if (!Number.isFinite(left))
      throw new StepsizeError("non-finite", `product ${columns.length} of at most ${steps} is not finite`);
    // As many directions as there are dimensions leave nothing but rounding, too.
    const exhausted = left <= rounding || columns.length === start.length;
    const goesOn = onStep?.(columns.length) !== false;
    if (exhausted || columns.length === steps || !goesOn) {
      const rows = columns.map((_, i) =>
        Float64Array.from(columns, (_, j) => columns[Math.max(i, j)]![Math.min(i, j)]!),
      );
      const largest = () => combined(basis, topEigenvector(rows));
      const matrix = { ...tridiagonalised(rows.map((row) => row.slice())), next: exhausted ? 0 : left };
      return { matrix, asymmetry: Math.max(0, ...columns.map((column) => unexplained(column, lengths))), largest };
    }
    lengths.push(left);
    basis.push(scaled(made, 1 / left));
  }
}

/** A sum of the basis' vectors, of length 1. */
function combined(basis: readonly Float64Array[], parts: Float64Array): Float64Array {
  const sum = new Float64Array(basis[0]!.length);
  basis.forEach((direction, j) => {
    for (let k = 0; k < sum.length; k++) sum[k]! += parts[j]! * direction[k]!;
  });
  return scaled(sum, 1 / norm(sum));
}

/** Takes what lies along the basis away from a vector, and tells how much it was along each. */
function orthogonalise(vector: Float64Array, basis: readonly Float64Array[]): Float64Array {
  const along = new Float64Array(basis.length);
  for (let pass = 0; pass < 2; pass++)
    basis.forEach((direction, i) => {
      const part = dot(direction, vector);
      along[i]! += part;
      for (let k = 0; k < vector.length; k++) vector[k]! -= part * direction[k]!;
    });
  return along;
}

/** The part of a product along earlier directions that a symmetric matrix would not have. */
function unexplained(along: Float64Array, lengths: readonly number[]): number {
  const before = along.length - 2;
  return Math.hypot(...along.subarray(0, -1).map((part, i) => part - (i === before ? lengths[i]! : 0)));
}

/** Σ aᵢbᵢ */
export function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** The Euclidean length. */
export function norm(vector: Float64Array): number {
  return Math.sqrt(dot(vector, vector));
}

/** A vector times a number. */
export function scaled(vector: Float64Array, factor: number): Float64Array {
  return vector.map((value) => value * factor);
}
