// What a Lanczos tridiagonal matrix knows of the measure it comes from: mass on the line, all of it 1, of which moments
// are known. The bounds are those of Chebyshev, Markov and Stieltjes: of all measures with these moments the one that
// has a node at x, and as few nodes as it can, has the least mass below x and the most up to x. Szegő, Orthogonal
// Polynomials, section 3.41; nodes prescribed in quadrature: Golub, SIAM Review 15 (1973).

import { expectObject } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import { tridiagonalEigen } from "./tridiagonal.js";

/** A symmetric tridiagonal matrix with positive off-diagonal, and the element that would come next to it. */
export interface JacobiMatrix {
  readonly diagonal: ArrayLike<number>;
  /** One less than the diagonal. */
  readonly offDiagonal: ArrayLike<number>;
  /** 0: there is no next row, the measure has no more nodes than this and is known. */
  readonly next: number;
}

/** A number between two others. */
export interface Bracket {
  readonly estimate: number;
  readonly lowest: number;
  readonly highest: number;
}

/** Points with their mass, in rising order. */
export interface Rule {
  readonly nodes: Float64Array;
  readonly weights: Float64Array;
}

/** Gauss's rule: exact for polynomials up to degree 2m − 1, m being the size of the matrix. */
export function gaussRule({ diagonal, offDiagonal }: JacobiMatrix): Rule {
  const { values, first } = tridiagonalEigen(diagonal, offDiagonal);
  return { nodes: values, weights: first.map((component) => component ** 2) };
}

/** Bounds on the mass: of all that is below `x` from below, and of all up to and with `x` from above. */
export interface MassBounds {
  readonly below: number;
  readonly upTo: number;
}

/** What is known of the mass on the left of a point, and with the point itself. */
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

/** {@link massBounds} of a matrix that is known to be right. */
export function boundsAt(matrix: JacobiMatrix, x: number): MassBounds {
  const { nodes, weights } = matrix.next > 0 ? ruleThrough(matrix, x) : gaussRule(matrix);
  const mass = (counted: (node: number) => boolean) =>
    Math.min(
      1,
      weights.reduce((sum, weight, i) => (counted(nodes[i]!) ? sum + weight : sum), 0),
    );
  return { below: mass((node) => node < x), upTo: mass((node) => node <= x) };
}

/**
 * Where the mass on the left reaches `share`: the least x with at least that much up to and with x. The estimate is that
 * of Gauss's rule. Takes some hundred eigenvalue problems.
 *
 * @param share above 0 and below 1
 */
export function quantile(matrix: JacobiMatrix, share: number): Bracket {
  const { nodes, weights } = gaussRule(matrix);
  let at = 0;
  for (let sum = weights[0]!; sum < share && at + 1 < nodes.length; sum += weights[at]!) at++;
  const estimate = nodes[at]!;
  if (!(matrix.next > 0)) return { estimate, lowest: estimate, highest: estimate };
  const width = matrix.next + nodes.at(-1)! - nodes[0]!;
  // Away from the nodes the mass that a point can hold falls with the distance: somewhere the search has to end.
  let [left, right] = [nodes[at - 1] ?? estimate - width, nodes[at + 1] ?? estimate + width];
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

/** Where a condition that does not hold at `from` begins to hold on the way to `to`: the last point before, the first after. */
function turningPoint(from: number, to: number, holds: (x: number) => boolean): [number, number] {
  for (;;) {
    const middle = (from + to) / 2;
    if (middle <= from || middle >= to || to - from <= 1e-12 * Math.max(Math.abs(from), Math.abs(to)))
      return [from, to];
    if (holds(middle)) to = middle;
    else from = middle;
  }
}

/** The rule with a node at `x` that agrees with the measure in most moments. */
function ruleThrough({ diagonal, offDiagonal, next }: JacobiMatrix, x: number): Rule {
  const m = diagonal.length;
  const pivots = pivotsOf(diagonal, offDiagonal, x);
  // The last diagonal element that makes x an eigenvalue. With one row more than the matrix has, the rule knows one
  // moment more; at an eigenvalue of the matrix that element would be infinite, and the matrix itself is the rule.
  const longer = x + next ** 2 / pivots[m - 1]!;
  const whole = Number.isFinite(longer);
  const size = whole ? m + 1 : m;
  const corner = whole ? longer : diagonal[m - 1]!;
  const rows = Float64Array.from({ length: size }, (_, i) => (i + 1 < size ? diagonal[i]! : corner));
  const beside = Float64Array.from({ length: size - 1 }, (_, i) => (i + 1 < m ? offDiagonal[i]! : next));
  const { values, first } = tridiagonalEigen(rows, beside);
  // As many eigenvalues are below x as pivots are negative (Sylvester): the next one is x itself, up to rounding.
  values[pivots.subarray(0, size - 1).filter((pivot) => pivot < 0).length] = x;
  return { nodes: values, weights: first.map((component) => component ** 2) };
}

/** The pivots of T − x in elimination from the top: a negative one for each eigenvalue below x. */
function pivotsOf(diagonal: ArrayLike<number>, offDiagonal: ArrayLike<number>, x: number): Float64Array {
  const pivots = new Float64Array(diagonal.length);
  for (let i = 0; i < pivots.length; i++) {
    const pivot = diagonal[i]! - x - (i > 0 ? offDiagonal[i - 1]! ** 2 / pivots[i - 1]! : 0);
    // An exact 0 would divide by itself; beside it is as good.
    pivots[i] = pivot === 0 ? Number.MIN_VALUE : pivot;
  }
  return pivots;
}
