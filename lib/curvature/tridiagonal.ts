/** Eigenvalues in rising order, with the first and the last component of each normalized eigenvector. */
export interface TridiagonalEigen {
  readonly values: Float64Array;
  readonly first: Float64Array;
  readonly last: Float64Array;
}

/** Largest number of rounds per eigenvalue. Two are usual, and no matrix is known to need this many. */
const mostRounds = 100;

/**
 * Returns the eigenvalues of a symmetric tridiagonal matrix, and the first and last components of its eigenvectors,
 * which quadrature and error bounds need.
 *
 * The method is the implicit QL iteration, with only these two rows of the transformations (Golub & Welsch, 1969). The
 * time grows with the square of the size.
 *
 * @param diagonal the n diagonal elements
 * @param offDiagonal the n − 1 elements beside the diagonal. Further elements are ignored.
 */
export function tridiagonalEigen(diagonal: ArrayLike<number>, offDiagonal: ArrayLike<number>): TridiagonalEigen {
  const n = diagonal.length;
  const beside = [...Array.from(offDiagonal).slice(0, n - 1), 0];
  // The matrix is scaled by its largest element, because squares of very large or small numbers overflow or underflow.
  const largest = (values: ArrayLike<number>) =>
    Array.from(values, Math.abs).reduce((most, one) => Math.max(most, one), 0);
  const unit = Math.max(largest(diagonal), largest(beside)) || 1;
  const d = Float64Array.from(diagonal, (value) => value / unit);
  const e = Float64Array.from(beside, (value) => value / unit);
  const first = new Float64Array(n);
  const last = new Float64Array(n);
  first[0] = 1;
  last[n - 1] = 1;
  for (let low = 0; low < n; low++) {
    for (let round = 0; ; round++) {
      const high = blockEnd(d, e, low);
      if (high === low) break;
      if (round === mostRounds) throw new Error("the eigenvalues of a tridiagonal matrix were not found");
      sweep(d, e, low, high, first, last);
    }
  }
  const order = [...d.entries()].sort(([, a], [, b]) => a - b);
  const sorted = (values: Float64Array) => Float64Array.from(order, ([i]) => values[i]!);
  return { values: sorted(d.map((value) => value * unit)), first: sorted(first), last: sorted(last) };
}

/** Returns the lowest and the highest of values in rising order. */
export function endsOf(rising: Float64Array): [lowest: number, highest: number] {
  return [rising[0]!, rising[rising.length - 1]!];
}

/** Returns the end of the block that begins at `low`: the next off-diagonal element is negligible, or there is none. */
function blockEnd(d: Float64Array, e: Float64Array, low: number): number {
  const nothing = (i: number) =>
    Math.abs(e[i]!) <= Number.EPSILON * Math.max(Number.EPSILON, Math.abs(d[i]!) + Math.abs(d[i + 1]!));
  let end = low;
  while (end + 1 < d.length && !nothing(end)) end++;
  return end;
}

/** Does one QL step with Wilkinson's shift on the block from `low` to `high`, from its end to its beginning. */
function sweep(
  d: Float64Array,
  e: Float64Array,
  low: number,
  high: number,
  first: Float64Array,
  last: Float64Array,
): void {
  const half = (d[low + 1]! - d[low]!) / (2 * e[low]!);
  const shift = d[low]! - e[low]! / (half + Math.sign(half || 1) * Math.hypot(half, 1));
  let [sine, cosine, moved] = [1, 1, 0];
  let bulge = d[high]! - shift;
  for (let i = high - 1; i >= low; i--) {
    const f = sine * e[i]!;
    const b = cosine * e[i]!;
    const length = Math.hypot(f, bulge);
    e[i + 1] = length;
    if (length === 0) {
      // The block split during the sweep. The work so far is kept.
      d[i + 1]! -= moved;
      e[high] = 0;
      return;
    }
    sine = f / length;
    cosine = bulge / length;
    const g = d[i + 1]! - moved;
    const r = (d[i]! - g) * sine + 2 * cosine * b;
    moved = sine * r;
    d[i + 1] = g + moved;
    bulge = cosine * r - b;
    for (const row of [first, last]) {
      const [left, right] = [row[i]!, row[i + 1]!];
      row[i] = cosine * left - sine * right;
      row[i + 1] = sine * left + cosine * right;
    }
  }
  d[low]! -= moved;
  e[low] = bulge;
  e[high] = 0;
}

/** A symmetric tridiagonal matrix: its diagonal, and the elements beside it. */
export interface Tridiagonal {
  readonly diagonal: Float64Array;
  readonly offDiagonal: Float64Array;
}

/**
 * Returns a symmetric matrix in tridiagonal form, in a basis with the same first vector, by Householder reflections.
 *
 * @param matrix the rows of the matrix, which are overwritten
 */
export function tridiagonalised(matrix: readonly Float64Array[]): Tridiagonal {
  const n = matrix.length;
  for (let k = 0; k + 2 < n; k++) {
    const mirror = matrix.map((row, i) => (i > k ? row[k]! : 0));
    const length = Math.hypot(...mirror);
    if (length === 0) continue;
    // The vector is scaled to length 1 first, because squares of very small numbers underflow.
    for (let i = k + 1; i < n; i++) mirror[i]! /= length;
    mirror[k + 1]! += mirror[k + 1]! < 0 ? -1 : 1;
    const squared = mirror.reduce((sum, value) => sum + value * value, 0);
    // A ← (1 − 2vvᵀ/vᵀv)·A·(1 − 2vvᵀ/vᵀv)
    const image = matrix.map((row) => (2 / squared) * row.reduce((sum, value, j) => sum + value * mirror[j]!, 0));
    const share = mirror.reduce((sum, value, i) => sum + value * image[i]!, 0) / squared;
    for (let i = 0; i < n; i++) image[i]! -= share * mirror[i]!;
    for (const [i, row] of matrix.entries())
      for (let j = 0; j < n; j++) row[j]! -= mirror[i]! * image[j]! + image[i]! * mirror[j]!;
  }
  return {
    diagonal: Float64Array.from(matrix, (row, i) => row[i]!),
    offDiagonal: Float64Array.from(matrix.slice(1), (row, i) => Math.abs(row[i]!)),
  };
}
