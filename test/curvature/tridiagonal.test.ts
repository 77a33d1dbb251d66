import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tridiagonalEigen, tridiagonalized } from "#lib/curvature/tridiagonal.js";

/** The largest difference between two lists. */
const apart = (a: ArrayLike<number>, b: readonly number[]) => Math.max(...b.map((value, i) => Math.abs(value - a[i]!)));
/** The eigenvalues and the components, as three lists. */
const eigen = (...matrix: Parameters<typeof tridiagonalEigen>) => {
  const eigenvalues = tridiagonalEigen(...matrix);
  return {
    values: eigenvalues.map(({ value }) => value),
    first: eigenvalues.map(({ first }) => first),
    last: eigenvalues.map(({ last }) => last),
  };
};
const range = (length: number) => Array.from({ length }, (_, i) => i);

describe("eigenvalues and first and last components of a tridiagonal matrix", () => {
  test.each([1, 2, 3, 10, 100])("of the Laplacian of a line with %i points have a closed form", (n) => {
    const angle = (k: number) => (Math.PI * (k + 1)) / (n + 1);
    const { values, first, last } = eigen(new Float64Array(n).fill(2), new Float64Array(n - 1).fill(-1));
    expect(
      apart(
        values,
        range(n).map((k) => 2 - 2 * Math.cos(angle(k))),
      ),
    ).toBeLessThan(1e-14 * n);
    const part = range(n).map((k) => Math.sqrt(2 / (n + 1)) * Math.sin(angle(k)));
    expect(apart(first.map(Math.abs), part)).toBeLessThan(1e-14 * n);
    // Eigenvectors are alternately even and odd, so the last component is plus or minus the first.
    expect(
      apart(
        first.map((value, k) => value * last[k]!),
        range(n).map((k) => (-1) ** k * part[k]! ** 2),
      ),
    ).toBeLessThan(1e-14 * n);
  });

  test("of the Legendre polynomials give Gauss's quadrature", () => {
    const beside = range(4).map((k) => (k + 1) / Math.sqrt(4 * (k + 1) ** 2 - 1));
    const { values, first } = eigen(new Float64Array(5), beside);
    const root = (sign: number) => Math.sqrt(5 + sign * 2 * Math.sqrt(10 / 7)) / 3;
    const weight = (sign: number) => (322 + sign * 13 * Math.sqrt(70)) / 900;
    expect(apart(values, [-root(1), -root(-1), 0, root(-1), root(1)])).toBeLessThan(1e-15);
    const weights = [weight(-1), weight(1), 128 / 225, weight(1), weight(-1)].map((value) => value / 2);
    expect(
      apart(
        first.map((value) => value ** 2),
        weights,
      ),
    ).toBeLessThan(1e-15);
  });

  test("of Wilkinson's matrix are accurate, although the largest pairs agree to 14 digits", () => {
    // Wilkinson, The Algebraic Eigenvalue Problem, p. 309: the two largest eigenvalues of W21+.
    const { values } = eigen(
      range(21).map((i) => Math.abs(i - 10)),
      new Array(20).fill(1),
    );
    expect(values[20]).toBeCloseTo(10.746194182903393, 13);
    expect(values[19]).toBeCloseTo(10.746194182903322, 13);
    expect(values[0]).toBeCloseTo(-1.12544152211998, 13);
  });

  test("are those of the diagonal if the off-diagonal is zero", () => {
    const { values, first, last } = eigen([3, 1, 2, 2], [0, 0, 0]);
    expect([...values]).toEqual([1, 2, 2, 3]);
    expect([...first]).toEqual([0, 0, 0, 1]);
    expect(last.reduce((sum, value) => sum + value ** 2, 0)).toBe(1);
  });

  test("have the moments of the matrix for random matrices of every scale", () => {
    const entries = fc.array(
      fc.tuple(fc.double({ min: -1, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true })),
      {
        minLength: 1,
        maxLength: 30,
      },
    );
    fc.assert(
      fc.property(entries, fc.integer({ min: -100, max: 100 }), (list, power) => {
        const diagonal = list.map(([d]) => d * 10 ** power);
        const beside = list.slice(1).map(([, e]) => e * 10 ** power);
        const { values, first, last } = eigen(diagonal, beside);
        const scale = 10 ** power;
        let vector: number[] = diagonal.map((_, i) => (i === 0 ? 1 : 0));
        for (let k = 0; k < 6; k++) {
          // e₁ᵀTᵏe₁ and eₙᵀTᵏe₁
          for (const [row, at] of [
            [first, 0],
            [last, diagonal.length - 1],
          ] as const) {
            const moment = values.reduce((sum, value, i) => sum + first[i]! * row[i]! * (value / scale) ** k, 0);
            expect(Math.abs(moment - vector[at]!)).toBeLessThan(1e-12);
          }
          vector = vector.map((value, i) => {
            const [above, below] = [
              i > 0 ? beside[i - 1]! * vector[i - 1]! : 0,
              (beside[i] ?? 0) * (vector[i + 1] ?? 0),
            ];
            return (diagonal[i]! * value + above + below) / scale;
          });
        }
      }),
    );
  });
});

describe("the tridiagonal form of a symmetric matrix", () => {
  test("has the same moments along the first vector, and the same trace", () => {
    const square = fc.integer({ min: 1, max: 12 }).chain((n) =>
      fc.array(fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: n, maxLength: n }), {
        minLength: n,
        maxLength: n,
      }),
    );
    fc.assert(
      fc.property(square, (entries) => {
        const rows = entries.map((row, i) => row.map((value, j) => (i <= j ? value : entries[j]![i]!)));
        const { diagonal, offDiagonal } = tridiagonalized(rows.map((row) => Float64Array.from(row)));
        expect(offDiagonal.length).toBe(rows.length - 1);
        expect(Math.min(0, ...offDiagonal)).toBe(0);
        const multiply = (v: readonly number[]) =>
          rows.map((row) => row.reduce((sum, value, j) => sum + value * v[j]!, 0));
        const { values, first } = eigen(diagonal, offDiagonal);
        let vector: number[] = rows.map((_, i) => (i === 0 ? 1 : 0));
        for (let k = 0; k < 6; k++) {
          const moment = values.reduce((sum, value, i) => sum + first[i]! ** 2 * value ** k, 0);
          expect(Math.abs(moment - vector[0]!)).toBeLessThan(1e-12 * rows.length ** k);
          vector = multiply(vector);
        }
        const trace = rows.reduce((sum, row, i) => sum + row[i]!, 0);
        expect(Math.abs(diagonal.reduce((sum, value) => sum + value, 0) - trace)).toBeLessThan(1e-13 * rows.length);
      }),
    );
  });
});
