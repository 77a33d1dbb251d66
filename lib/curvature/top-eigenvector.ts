import { solveInPlace } from "../schedule/theory/linear-solve.js";
import { endsOf, tridiagonalEigen, tridiagonalized } from "./tridiagonal.js";

/**
 * Returns an eigenvector of the largest eigenvalue of a small symmetric matrix, by inverse iteration. The time grows
 * with the third power of the size.
 *
 * @param rows the rows of the matrix, which is not changed
 */
export function topEigenvector(rows: readonly Float64Array[]): Float64Array {
  const n = rows.length;
  const { diagonal, offDiagonal } = tridiagonalized(rows.map((row) => row.slice()));
  const [lowest, highest] = endsOf(tridiagonalEigen(diagonal, offDiagonal));
  const size = Math.max(Math.abs(lowest.value), Math.abs(highest.value)) || 1;
  // Slightly above the eigenvalue, so that the shifted matrix is not singular.
  const shift = highest.value + 1e-13 * size;
  let vector = Float64Array.from({ length: n }, (_, i) => 1 + i / n);
  for (let round = 0; round < 3; round++) {
    const shifted = Float64Array.from(
      rows.flatMap((row, i) => Array.from(row, (value, j) => (value - (i === j ? shift : 0)) / size)),
    );
    const solved = vector.slice();
    // If the matrix is exactly singular, the previous vector is the best one.
    if (!solveInPlace(shifted, solved)) break;
    const length = Math.hypot(...solved);
    vector = solved.map((value) => value / length);
  }
  return vector;
}
