// Symmetric matrices with known spectra, given by their product with a vector.
import { PhiloxStream } from "#lib/random.js";

/** A symmetric matrix with its eigenvalues, and a vector in its eigenbasis. */
export interface KnownMatrix {
  readonly name: string;
  readonly eigenvalues: Float64Array;
  /** Components of the vector along the eigenvectors. */
  readonly parts: Float64Array;
}

/** Normally distributed numbers that depend only on the seed. */
export function normals(count: number, seed: number): Float64Array {
  const stream = new PhiloxStream(seed, 0);
  return Float64Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(1 - stream.uniform())) * Math.cos(2 * Math.PI * stream.uniform()),
  );
}

const size = 120;
const known = (name: string, at: (i: number) => number, part: (i: number, lambda: number) => number = () => 1) => {
  const noise = normals(size, name.length);
  const eigenvalues = Float64Array.from({ length: size }, (_, i) => at(i));
  return { name, eigenvalues, parts: noise.map((value, i) => value * part(i, eigenvalues[i]!)) };
};

/** Spectra of kinds that occur in losses, and of some that do not. */
export const matrices: readonly KnownMatrix[] = [
  known("evenly spread", (i) => i + 1),
  known("spread over six powers of ten", (i) => 10 ** ((6 * i) / size - 4)),
  known("the Laplacian of a line", (i) => 2 - 2 * Math.cos((Math.PI * (i + 1)) / (size + 1))),
  known("five clusters", (i) => [1, 3, 3, 40, 100][i % 5]! + 1e-3 * Math.sin(i)),
  known("some negative eigenvalues", (i) => (i - 30) / 9),
  known("all negative", (i) => -1 - i / 10),
  known("a few large eigenvalues and a bulk around zero", (i) => (i < 8 ? 10 * 2 ** (i / 2) : 0.05 * Math.sin(i))),
  known(
    "components proportional to the eigenvalues, as in a gradient",
    (i) => 1.1 ** i - 5,
    (_, lambda) => lambda,
  ),
  known(
    "a largest eigenvalue with a small component",
    (i) => (i === size - 1 ? 3 * size : i),
    (i) => (i === size - 1 ? 0.03 : 1),
  ),
];

/** The mass of the vector at eigenvalues below x and up to x. */
export function trueMass({ eigenvalues, parts }: KnownMatrix, x: number): { below: number; upTo: number } {
  const mass = (counted: (lambda: number) => boolean) =>
    parts.reduce((sum, part, i) => (counted(eigenvalues[i]!) ? sum + part ** 2 : sum), 0);
  const whole = mass(() => true);
  return { below: mass((lambda) => lambda < x) / whole, upTo: mass((lambda) => lambda <= x) / whole };
}

/** The matrix in another orthogonal basis. Three Householder reflections change every vector of the old one. */
export function rotated({ eigenvalues, parts }: KnownMatrix, seed = 1) {
  const mirrors = [1, 2, 3].map((i) => {
    const mirror = normals(eigenvalues.length, 10 * seed + i);
    const length = Math.hypot(...mirror);
    return mirror.map((value) => value / length);
  });
  const reflect = (vector: Float64Array, order: readonly Float64Array[]) =>
    order.reduce((v, mirror) => {
      const part = 2 * mirror.reduce((sum, value, i) => sum + value * v[i]!, 0);
      return v.map((value, i) => value - part * mirror[i]!);
    }, vector);
  const back = [...mirrors].reverse();
  return {
    product: (vector: Float64Array) =>
      reflect(
        reflect(vector, back).map((value, i) => value * eigenvalues[i]!),
        mirrors,
      ),
    vector: reflect(parts, mirrors),
  };
}

/** Eigenvalues and eigenvectors of a symmetric matrix by Jacobi rotations. Slow, and independent of the library. */
export function eigenOf(matrix: readonly Float64Array[]): { value: number; vector: number[] }[] {
  const n = matrix.length;
  const a = matrix.map((row) => [...row]);
  const v = a.map((_, i) => a.map((__, j) => (i === j ? 1 : 0)));
  const rotate = (rows: number[][], p: number, q: number, c: number, s: number) => {
    for (const row of rows) [row[p], row[q]] = [c * row[p]! - s * row[q]!, s * row[p]! + c * row[q]!];
  };
  for (let sweep = 0; sweep < 30; sweep++)
    for (let p = 0; p < n; p++)
      for (let q = p + 1; q < n; q++) {
        if (a[p]![q] === 0) continue;
        const angle = 0.5 * Math.atan2(2 * a[p]![q]!, a[q]![q]! - a[p]![p]!);
        const [c, s] = [Math.cos(angle), Math.sin(angle)];
        rotate(a, p, q, c, s);
        const [rowP, rowQ] = [a[p]!, a[q]!];
        a[p] = rowP.map((value, k) => c * value - s * rowQ[k]!);
        a[q] = rowP.map((value, k) => s * value + c * rowQ[k]!);
        rotate(v, p, q, c, s);
      }
  return a.map((row, i) => ({ value: row[i]!, vector: v.map((line) => line[i]!) }));
}

/** Expresses a matrix and a vector in the eigenbasis of the matrix. */
export function inEigenbasis(name: string, matrix: readonly Float64Array[], vector: Float64Array): KnownMatrix {
  const eigen = eigenOf(matrix);
  return {
    name,
    eigenvalues: Float64Array.from(eigen, ({ value }) => value),
    parts: Float64Array.from(eigen, ({ vector: direction }) =>
      direction.reduce((sum, value, i) => sum + value * vector[i]!, 0),
    ),
  };
}
