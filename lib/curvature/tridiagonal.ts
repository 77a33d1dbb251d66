import { itemAt, zip } from "../lookup.js";
import { addMultiple, dot } from "./vectors.js";

/** An eigenvalue with the first and the last component of its normalized eigenvector. */
export interface Eigenvalue {
  readonly value: number;
  readonly first: number;
  readonly last: number;
}

/** Largest number of rounds per eigenvalue. Two are usual, and no matrix is known to need this many. */
const maxRounds = 100;

/**
 * Returns the eigenvalues of a symmetric tridiagonal matrix in rising order, and the first and last components of its
 * eigenvectors, which quadrature and error bounds need.
 *
 * The method is the implicit QL iteration, with only these two rows of the transformations (Golub & Welsch, 1969). The
 * time grows with the square of the size.
 *
 * @param diagonal the n diagonal elements
 * @param offDiagonal the n − 1 elements beside the diagonal. Further elements are ignored.
 */
export function tridiagonalEigen(diagonal: ArrayLike<number>, offDiagonal: ArrayLike<number>): readonly Eigenvalue[] {
  const n = diagonal.length;
  // The matrix is scaled by its largest element, because squares of very large or small numbers overflow or underflow.
  const beside = [...Array.from(offDiagonal).slice(0, n - 1), 0];
  const largest = (values: ArrayLike<number>) => Math.max(...Array.from(values, Math.abs));
  const scale = Math.max(largest(diagonal), largest(beside)) || 1;
  const rows = Array.from(zip(Array.from(diagonal), beside), ([element, next], i) => ({
    element: element / scale,
    next: next / scale,
    first: i === 0 ? 1 : 0,
    last: i + 1 === n ? 1 : 0,
  }));
  for (const [i, top] of rows.entries())
    for (let round = 0; ; round++) {
      const block = blockFrom(top, rows.slice(i + 1));
      if (block.bottom === top) break;
      if (round === maxRounds) throw new Error("the eigenvalues of a tridiagonal matrix were not found");
      sweep(block);
    }
  return rows
    .map(({ element, first, last }) => ({ value: element * scale, first, last }))
    .sort((a, b) => a.value - b.value);
}

/** Returns the lowest and the highest of eigenvalues in rising order. */
export function endsOf(rising: readonly Eigenvalue[]): readonly [lowest: Eigenvalue, highest: Eigenvalue] {
  return [itemAt(rising, 0), itemAt(rising, -1)];
}

/** A row of the matrix during the iteration, with the components of an eigenvector that develop in it. */
interface Row {
  /** The diagonal element. */
  element: number;
  /** The element beside it, in the column of the next row. 0 in the last row. */
  next: number;
  first: number;
  last: number;
}

/** Rows that are coupled by off-diagonal elements. */
interface Block {
  readonly top: Row;
  /** All rows above `bottom`, from the top down. */
  readonly above: readonly Row[];
  readonly bottom: Row;
}

/** Returns the block that begins at a row. It ends where the next off-diagonal element is negligible. */
function blockFrom(top: Row, others: readonly Row[]): Block {
  const above: Row[] = [];
  let bottom = top;
  for (const row of others) {
    const sum = Math.abs(bottom.element) + Math.abs(row.element);
    if (Math.abs(bottom.next) <= Number.EPSILON * Math.max(Number.EPSILON, sum)) break;
    above.push(bottom);
    bottom = row;
  }
  return { top, above, bottom };
}

/** Does one QL step with Wilkinson's shift on a block of at least two rows, from its bottom to its top. */
function sweep({ top, above, bottom }: Block): void {
  const second = above[1] ?? bottom;
  const half = (second.element - top.element) / (2 * top.next);
  const shift = top.element - top.next / (half + Math.sign(half || 1) * Math.hypot(half, 1));
  let [sine, cosine, moved] = [1, 1, 0];
  let bulge = bottom.element - shift;
  let below = bottom;
  for (const row of above.toReversed()) {
    const f = sine * row.next;
    const b = cosine * row.next;
    const length = Math.hypot(f, bulge);
    below.next = length;
    if (length === 0) {
      // The block split during the sweep. The work so far is kept.
      below.element -= moved;
      bottom.next = 0;
      return;
    }
    sine = f / length;
    cosine = bulge / length;
    const g = below.element - moved;
    const r = (row.element - g) * sine + 2 * cosine * b;
    moved = sine * r;
    below.element = g + moved;
    bulge = cosine * r - b;
    const { first, last } = row;
    row.first = cosine * first - sine * below.first;
    row.last = cosine * last - sine * below.last;
    below.first = sine * first + cosine * below.first;
    below.last = sine * last + cosine * below.last;
    below = row;
  }
  top.element -= moved;
  top.next = bulge;
  bottom.next = 0;
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
export function tridiagonalized(matrix: readonly Float64Array[]): Tridiagonal {
  const n = matrix.length;
  for (let k = 0; k + 2 < n; k++) {
    const column = Float64Array.from(matrix, (row, i) => (i > k ? row[k]! : 0));
    const length = Math.hypot(...column);
    if (length === 0) continue;
    // The vector is scaled to length 1 first, because squares of very small numbers underflow.
    const mirror = column.map((value) => value / length);
    mirror[k + 1]! += mirror[k + 1]! < 0 ? -1 : 1;
    const squared = dot(mirror, mirror);
    // A ← (1 − 2vvᵀ/vᵀv)·A·(1 − 2vvᵀ/vᵀv)
    const image = Float64Array.from(matrix, (row) => (2 / squared) * dot(row, mirror));
    addMultiple(image, -dot(mirror, image) / squared, mirror);
    for (const [i, row] of matrix.entries())
      for (let j = 0; j < n; j++) row[j]! -= mirror[i]! * image[j]! + image[i]! * mirror[j]!;
  }
  return {
    diagonal: Float64Array.from(matrix, (row, i) => row[i]!),
    offDiagonal: Float64Array.from(matrix.slice(1), (row, i) => Math.abs(row[i]!)),
  };
}
