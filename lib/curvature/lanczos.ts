import { invalidArgument, StepsizeError } from "../errors.js";
import { zip } from "../lookup.js";
import type { JacobiMatrix } from "./spectral-measure.js";
import { topEigenvector } from "./top-eigenvector.js";
import { tridiagonalized } from "./tridiagonal.js";
import { addMultiple, dot, norm, scaled } from "./vectors.js";

/** The product of a symmetric matrix with a vector. It returns a new array and must not keep its argument. */
export type Product = (vector: Float64Array) => Float64Array | Promise<Float64Array>;

/** Options of {@link lanczos}. */
export interface LanczosOptions {
  /** Largest number of products. */
  readonly steps: number;
  /** Called after each product with the number of products so far. If it returns `false`, the process ends. */
  readonly onStep?: ((done: number) => unknown) | undefined;
}

/** The result of {@link lanczos}. */
export interface Lanczos {
  /** The matrix in the Krylov space of the start vector. */
  readonly matrix: JacobiMatrix;
  /**
   * Largest component of a product that a symmetric matrix would not have. For exact products it is rounding errors;
   * for measured products it estimates their errors.
   */
  readonly asymmetry: number;
  /** Returns the Ritz vector of the largest Ritz value, with length 1. */
  largest(): Float64Array;
}

/**
 * Runs the Lanczos process with full reorthogonalization. It projects a symmetric matrix to the Krylov space of a start
 * vector, in which the matrix is tridiagonal.
 *
 * Each product is orthogonalized twice against all earlier directions. Further passes do not help (Giraud, Langou,
 * Rozložník & van den Eshof, 2005).
 *
 * Products may have errors. Then a new direction contains part of the error of its product, and its length is too
 * large. Used as an off-diagonal element, this length would add false curvature at both ends of the spectrum. The
 * components of the next product along earlier directions give the same element without that error. So the matrix is
 * made of these components (the upper triangle, a Rayleigh–Ritz projection) and made tridiagonal again. For exact
 * products both are equal.
 *
 * For vectors of n numbers and m steps it takes m products, 8n(m + 1) bytes and 8nm² operations.
 *
 * @param start a vector that is not zero, of any length
 * @throws StepsizeError `non-finite` if a product is not finite; `invalid-argument` if it has another length
 */
export async function lanczos(product: Product, start: Float64Array, options: LanczosOptions): Promise<Lanczos> {
  const { steps, onStep } = options;
  let newest = scaled(start, 1 / norm(start));
  const basis = [newest];
  // Column j: the components of the product of direction j along the directions 0 to j.
  const columns: Float64Array[] = [];
  const lengths: number[] = [];
  // Upper bound of the rounding errors of a product of this size.
  let rounding = 0;
  for (;;) {
    const made = await product(newest);
    if (made?.length !== start.length) invalidArgument("product", `a function to ${start.length} numbers`, made);
    rounding = Math.max(rounding, 1e-13 * norm(made));
    columns.push(orthogonalize(made, basis));
    const left = norm(made);
    if (!Number.isFinite(left))
      throw new StepsizeError("non-finite", `product ${columns.length} of at most ${steps} is not finite`);
    // With as many directions as dimensions, only rounding errors are left.
    const exhausted = left <= rounding || columns.length === start.length;
    const isStopped = onStep?.(columns.length) === false;
    if (exhausted || columns.length === steps || isStopped) {
      // The lower triangle mirrors the upper one.
      const rows = columns.map((row, i) => Float64Array.from(columns, (column, j) => (i > j ? row[j] : column[i])!));
      const largest = () => combined(basis, topEigenvector(rows), start.length);
      const matrix = { ...tridiagonalized(rows.map((row) => row.slice())), next: exhausted ? 0 : left };
      return { matrix, asymmetry: Math.max(0, ...columns.map((column) => unexplained(column, lengths))), largest };
    }
    lengths.push(left);
    newest = scaled(made, 1 / left);
    basis.push(newest);
  }
}

/** Returns a linear combination of the basis, scaled to Euclidean length 1. `length` is the number of components. */
function combined(basis: readonly Float64Array[], factors: Float64Array, length: number): Float64Array {
  const sum = new Float64Array(length);
  for (const [direction, factor] of zip(basis, factors)) addMultiple(sum, factor, direction);
  return scaled(sum, 1 / norm(sum));
}

/** Subtracts the components of a vector along a basis, and returns them. */
function orthogonalize(vector: Float64Array, basis: readonly Float64Array[]): Float64Array {
  const subtract = () =>
    Float64Array.from(basis, (direction) => {
      const component = dot(direction, vector);
      addMultiple(vector, -component, direction);
      return component;
    });
  const components = subtract();
  // Rounding errors of the first pass are components that the second pass finds.
  addMultiple(components, 1, subtract());
  return components;
}

/** Returns the norm of a product's components along earlier directions that a symmetric matrix would not have. */
function unexplained(components: Float64Array, lengths: readonly number[]): number {
  const before = components.length - 2;
  const expected = lengths[before] ?? 0;
  return Math.hypot(...components.subarray(0, -1).map((component, i) => component - (i === before ? expected : 0)));
}
