/**
 * Solves A·x = b by Gaussian elimination with partial pivoting. Both are overwritten, b with x.
 *
 * @param A the square matrix, row by row
 * @returns false if A is singular
 */
export function solveInPlace(A: Float64Array, b: Float64Array): boolean {
  const n = b.length;
  for (let column = 0; column < n; column++) {
    let pivot = column;
    for (let row = column + 1; row < n; row++) {
      if (Math.abs(A[row * n + column]!) > Math.abs(A[pivot * n + column]!)) pivot = row;
    }
    if (!(Math.abs(A[pivot * n + column]!) > 0)) return false;
    if (pivot !== column) exchangeRows(A, b, pivot, column);
    const inverse = 1 / A[column * n + column]!;
    for (let row = column + 1; row < n; row++) {
      const factor = A[row * n + column]! * inverse;
      for (let i = column + 1; i < n; i++) A[row * n + i]! -= factor * A[column * n + i]!;
      b[row]! -= factor * b[column]!;
    }
  }
  for (let row = n - 1; row >= 0; row--) {
    for (let i = row + 1; i < n; i++) b[row]! -= A[row * n + i]! * b[i]!;
    b[row]! /= A[row * n + row]!;
  }
  return true;
}

function exchangeRows(A: Float64Array, b: Float64Array, i: number, j: number): void {
  const n = b.length;
  const row = A.slice(i * n, (i + 1) * n);
  A.copyWithin(i * n, j * n, (j + 1) * n);
  A.set(row, j * n);
  [b[i], b[j]] = [b[j]!, b[i]!];
}
