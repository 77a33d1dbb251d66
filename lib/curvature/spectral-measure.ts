// Bounds on a spectral measure from its Lanczos matrix. The measure has a total mass of 1 and known moments. The bounds
// are those of Chebyshev, Markov and Stieltjes: of all measures with these moments, the one with a node at x and as few
// nodes as possible has the least mass below x and the most mass up to x. Sources: Szegő, Orthogonal Polynomials,
// section 3.41; for quadrature with a prescribed node, Golub, SIAM Review 15 (1973).

import { expectObject } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import { itemAt, zip } from "../lookup.js";
import { tridiagonalEigen } from "./tridiagonal.js";

/** A symmetric tridiagonal matrix with positive off-diagonal elements, as the Lanczos process gives it. */
export interface JacobiMatrix {
  /** The diagonal elements. */
  readonly diagonal: ArrayLike<number>;
  /** The elements beside the diagonal, one fewer than the diagonal has. */
  readonly offDiagonal: ArrayLike<number>;
  /** The off-diagonal element of the next row. 0 if there is none; then the matrix determines the measure. */
  readonly next: number;
}

/** An estimate with a lower and an upper bound. */
export interface Bracket {
  /** The estimate. */
  readonly estimate: number;
  /** The lower bound. */
  readonly lowest: number;
  /** The upper bound. */
  readonly highest: number;
}

/** A node of a quadrature rule. */
export interface Node {
  readonly value: number;
  readonly weight: number;
}

/** Returns the nodes of the Gauss rule of a matrix of size m, in rising order. The rule is exact for polynomials up to degree 2m − 1. */
export function gaussRule({ diagonal, offDiagonal }: JacobiMatrix): readonly Node[] {
  return tridiagonalEigen(diagonal, offDiagonal).map(({ value, first }) => ({ value, weight: first ** 2 }));
}

/** Bounds on the mass to the left of a point x. */
export interface MassBounds {
  /** Lower bound of the mass below x. */
  readonly below: number;
  /** Upper bound of the mass up to x, including x. */
  readonly upTo: number;
}

/**
 * Returns bounds on the mass of a spectrum to the left of a point.
 *
 * @param matrix the `matrix` of a {@link Spectrum}
 * @param x the point
 * @throws StepsizeError `invalid-argument` if `matrix` is not such a matrix or `x` is not a number
 *
 * @example
 * ```ts
 * import { massBounds, spectrum } from "stepsize";
 *
 * const eigenvalues = [1, 2, 3, 4];
 * const { matrix } = await spectrum((v) => v.map((x, i) => x * eigenvalues[i]!), new Float64Array([1, 1, 1, 1]));
 * console.log(massBounds(matrix, 2.5)); // both bounds are about 0.5
 * ```
 */
export function massBounds(matrix: JacobiMatrix, x: number): MassBounds {
  expectMatrix(matrix);
  if (typeof x !== "number" || Number.isNaN(x)) invalidArgument("x", "a number", x);
  return boundsAt(matrix, x);
}

function expectMatrix(matrix: JacobiMatrix): void {
  expectObject("matrix", matrix, "a matrix, as spectrum(…) gives it");
  const { diagonal, offDiagonal, next } = matrix;
  const areNumbers = (values: ArrayLike<number>, length: number) =>
    typeof values === "object" &&
    values !== null &&
    values.length === length &&
    Array.from(values).every(Number.isFinite);
  if (!(diagonal?.length > 0) || !areNumbers(diagonal, diagonal.length))
    invalidArgument("matrix.diagonal", "an array of at least one finite number", diagonal);
  if (!areNumbers(offDiagonal, diagonal.length - 1))
    invalidArgument("matrix.offDiagonal", `an array of ${diagonal.length - 1} finite numbers`, offDiagonal);
  if (!Number.isFinite(next) || next < 0) invalidArgument("matrix.next", "a finite number ≥ 0", next);
}

/** Returns {@link massBounds} without checking the matrix. */
export function boundsAt(matrix: JacobiMatrix, x: number): MassBounds {
  const rule = matrix.next > 0 ? ruleThrough(matrix, x) : gaussRule(matrix);
  const mass = (counted: (value: number) => boolean) => Math.min(1, massWhere(rule, counted));
  return { below: mass((value) => value < x), upTo: mass((value) => value <= x) };
}

/** Returns the sum of the weights of the nodes that are counted. */
export function massWhere(rule: readonly Node[], counted: (value: number) => boolean): number {
  return rule.reduce((sum, { value, weight }) => (counted(value) ? sum + weight : sum), 0);
}

/**
 * Returns a quantile of the measure: the least x with at least a given mass up to and including x.
 *
 * The estimate is that of the Gauss rule. The bounds take some hundred eigenvalue problems.
 *
 * @param share the mass, above 0 and below 1
 */
export function quantile(matrix: JacobiMatrix, share: number): Bracket {
  const { before, estimate, after } = gaussQuantile(matrix, share);
  if (!(matrix.next > 0)) return { estimate, lowest: estimate, highest: estimate };
  // The search ends, because the mass that a point can have falls with its distance from the nodes.
  let [left, right] = [before, after];
  while (boundsAt(matrix, left).upTo >= share) left -= estimate - left;
  while (boundsAt(matrix, right).below < share) right += right - estimate;
  const reached = (enough: (bounds: MassBounds) => boolean) => (x: number) => enough(boundsAt(matrix, x));
  return {
    estimate,
    lowest: turningPoint(
      left,
      estimate,
      reached(({ upTo }) => upTo >= share),
    )[0],
    highest: turningPoint(
      estimate,
      right,
      reached(({ below }) => below >= share),
    )[1],
  };
}

/** Returns the quantile of the Gauss rule and the nodes before and after it, or points beyond the first and last. */
function gaussQuantile(matrix: JacobiMatrix, share: number) {
  const rule = gaussRule(matrix);
  let sum = 0;
  const reached = rule.findIndex(({ weight }) => {
    sum += weight;
    return sum >= share;
  });
  // Rounding can leave the sum of all weights below the share.
  const index = reached < 0 ? rule.length - 1 : reached;
  const estimate = itemAt(rule, index).value;
  const width = matrix.next + itemAt(rule, -1).value - itemAt(rule, 0).value;
  return {
    before: rule[index - 1]?.value ?? estimate - width,
    estimate,
    after: rule[index + 1]?.value ?? estimate + width,
  };
}

/**
 * Finds where a condition that is false at `from` becomes true on the way to `to`. Returns the points before and after.
 */
function turningPoint(from: number, to: number, holds: (x: number) => boolean): [number, number] {
  for (;;) {
    const middle = (from + to) / 2;
    if (middle <= from || middle >= to || to - from <= 1e-12 * Math.max(Math.abs(from), Math.abs(to)))
      return [from, to];
    if (holds(middle)) to = middle;
    else from = middle;
  }
}

/** Returns the rule with a node at `x` that has the most moments of the measure. */
function ruleThrough({ diagonal, offDiagonal, next }: JacobiMatrix, x: number): readonly Node[] {
  const pivots = pivotsOf(diagonal, offDiagonal, x);
  // The last diagonal element is chosen so that x is an eigenvalue. The matrix gets another row, which adds a moment.
  // If x is an eigenvalue of the matrix itself, the element would be infinite, and the matrix already gives the rule.
  const corner = x + next ** 2 / itemAt(pivots, -1);
  const isLonger = Number.isFinite(corner);
  const eigenvalues = isLonger
    ? tridiagonalEigen([...Array.from(diagonal), corner], [...Array.from(offDiagonal), next])
    : tridiagonalEigen(diagonal, offDiagonal);
  // The number of eigenvalues below x is the number of negative pivots (Sylvester). The next one is x, up to rounding.
  const below = pivots.slice(0, eigenvalues.length - 1).filter((pivot) => pivot < 0).length;
  return eigenvalues.map(({ value, first }, i) => ({ value: i === below ? x : value, weight: first ** 2 }));
}

/** Returns the pivots of T − x in elimination from the top. One of them is negative for each eigenvalue below x. */
function pivotsOf(diagonal: ArrayLike<number>, offDiagonal: ArrayLike<number>, x: number): number[] {
  let above = 1;
  const rows = zip(Array.from(diagonal), [0, ...Array.from(offDiagonal)]);
  return Array.from(rows, ([element, beside]) => {
    const pivot = element - x - beside ** 2 / above;
    // A pivot of exactly 0 would be divided by next, so a tiny number replaces it.
    above = pivot === 0 ? Number.MIN_VALUE : pivot;
    return above;
  });
}
