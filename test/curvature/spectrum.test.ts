import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { massBounds, spectrum } from "#lib/curvature/index.js";
import { expectError } from "../support/errors.js";
import { type KnownMatrix, matrices, normals, rotated, trueMass } from "./support/matrices.js";

const spanOf = ({ eigenvalues }: KnownMatrix) => Math.max(...eigenvalues.map(Math.abs));

/**
 * Expects the true mass to the left of x to be inside the bounds. Rounding moves eigenvalues by about 1e-13 of the
 * largest, and mass between neighbors by this divided by their distance, which is at least 1e-5 of the largest.
 */
function expectMassInside(matrix: KnownMatrix, found: Parameters<typeof massBounds>[0], x: number): void {
  const rounding = 1e-11 * spanOf(matrix);
  const { below, upTo } = trueMass(matrix, x);
  const message = `${matrix.name} at ${x}`;
  expect(massBounds(found, x - rounding).below, message).toBeLessThan(below + 1e-8);
  expect(massBounds(found, x + rounding).upTo, message).toBeGreaterThan(upTo - 1e-8);
}

describe.each(matrices)("a matrix with a known spectrum ($name)", (matrix) => {
  const { product, vector } = rotated(matrix);
  const { eigenvalues } = matrix;
  const sorted = [...eigenvalues].sort((a, b) => a - b);
  const [smallest, largest] = [sorted[0]!, sorted.at(-1)!];

  test("λ_max is accurate to 1 % after 40 products, and never too large", async () => {
    const { lambdaMax, lambdaMaxError, lambdaMin, steps } = await spectrum(product, vector);
    expect(steps).toBe(40);
    expect(Math.abs(lambdaMax - largest)).toBeLessThan(0.01 * Math.abs(largest));
    expect(lambdaMax).toBeLessThan(largest + 1e-12 * spanOf(matrix));
    expect(lambdaMin).toBeGreaterThan(smallest - 1e-12 * spanOf(matrix));
    const nearest = Math.min(...eigenvalues.map((lambda) => Math.abs(lambda - lambdaMax)));
    expect(nearest).toBeLessThanOrEqual(lambdaMaxError);
  });

  test("the mass to the left of any point is inside its bounds, for any number of products", async () => {
    for (const steps of [2, 3, 5, 10, 25, 60, 120]) {
      const { matrix: found, ritz } = await spectrum(product, vector, { steps });
      const nodes = ritz.map(({ value }) => value);
      const grid = Array.from(
        { length: 41 },
        (_, i) => 1.5 * smallest - 0.5 * largest + (i / 20) * (largest - smallest),
      );
      const some = sorted.filter((_, i) => i % 5 === 0);
      for (const x of [...nodes, ...some, ...grid, 0]) expectMassInside(matrix, found, x);
    }
  });

  test("the bounds are those of Chebyshev, Markov and Stieltjes: at a node, the sums of weights before and after it", async () => {
    const { matrix: found, ritz } = await spectrum(product, vector, { steps: 5 });
    let before = 0;
    for (const { value, weight } of ritz) {
      const { below, upTo } = massBounds(found, value);
      expect(below).toBeCloseTo(before, 9);
      before += weight;
      expect(upTo).toBeCloseTo(before, 9);
    }
    expect(before).toBeCloseTo(1, 12);
  });

  test("the intervals of negative mass, λ_q and κ contain the true values, and shrink with more products", async () => {
    for (const share of [0.95, 0.6]) {
      const truth = sorted.find((lambda) => trueMass(matrix, lambda).upTo >= 1 - share)!;
      let width = Infinity;
      for (const steps of [3, 12, 40, 120]) {
        const { lambdaMax, lambdaQ, kappa, negativeMass, noiseFloor } = await spectrum(product, vector, {
          steps,
          share,
        });
        for (const [value, bracket] of [
          [truth, lambdaQ],
          [trueMass(matrix, 0).below, negativeMass],
          [lambdaQ.estimate, lambdaQ],
          [negativeMass.estimate, negativeMass],
        ] as const) {
          const rounding = 1e-11 * spanOf(matrix);
          expect(bracket.lowest).toBeLessThan(value + rounding);
          expect(bracket.highest).toBeGreaterThan(value - rounding);
        }
        expect(noiseFloor).toBeLessThan(1e-12 * spanOf(matrix));
        if (lambdaMax > 0 && truth > 0) {
          expect(kappa.lowest).toBeLessThan((lambdaMax / truth) * (1 + 1e-9));
          expect(kappa.highest).toBeGreaterThan((lambdaMax / truth) * (1 - 1e-9));
        }
        expect(lambdaQ.highest - lambdaQ.lowest).toBeLessThan(width);
        width = (lambdaQ.highest - lambdaQ.lowest) * (1 + 1e-9);
      }
      // All eigenvalues are found, so the interval is the point itself.
      expect(width).toBeLessThan(1e-10 * spanOf(matrix));
    }
  });
});

test("the bounds of a measure with mean 0 and variance 1 are Cantelli's", () => {
  const matrix = { diagonal: [0], offDiagonal: [], next: 1 };
  for (const x of [0.001, 0.5, 1, 3, 1e6]) {
    expect(massBounds(matrix, x)).toEqual({
      below: expect.closeTo(x ** 2 / (1 + x ** 2), 12),
      upTo: expect.closeTo(1, 12),
    });
    expect(massBounds(matrix, -x)).toEqual({ below: 0, upTo: expect.closeTo(1 / (1 + x ** 2), 12) });
  }
  // At the mean, which is an eigenvalue of the matrix, all mass may be on either side.
  expect(massBounds(matrix, 0)).toEqual({ below: 0, upTo: 1 });
  // The same inside a larger matrix, where elimination meets a zero at its first step.
  const larger = massBounds({ diagonal: [0, 0, 0], offDiagonal: [1, 1], next: 1 }, 0);
  expect(larger).toEqual({ below: expect.closeTo(0.25, 12), upTo: expect.closeTo(0.75, 12) });
});

test("the mass of small matrices of every kind is inside its bounds, and equals them if all is known", async () => {
  const entry = fc.tuple(fc.double({ min: -3, max: 3, noNaN: true }), fc.double({ min: 0.01, max: 1, noNaN: true }));
  await fc.assert(
    fc.asyncProperty(
      fc.array(entry, { minLength: 2, maxLength: 9 }),
      fc.integer({ min: 2, max: 9 }),
      async (list, steps) => {
        const matrix: KnownMatrix = {
          name: JSON.stringify(list),
          eigenvalues: Float64Array.from(list, ([lambda]) => lambda),
          parts: Float64Array.from(list, ([, part]) => part),
        };
        const { product, vector } = rotated(matrix);
        const found = await spectrum(product, vector, { steps });
        for (const x of [-3.5, -1, 0, 0.5, 2, 4, ...matrix.eigenvalues]) {
          // Eigenvalues closer than rounding may be counted as one, so points near them are skipped.
          if (matrix.eigenvalues.some((lambda) => lambda !== x && Math.abs(lambda - x) < 1e-6)) continue;
          const { below, upTo } = trueMass(matrix, x);
          const slack = 1e-6;
          expect(massBounds(found.matrix, x - 1e-7).below).toBeLessThan(below + slack);
          expect(massBounds(found.matrix, x + 1e-7).upTo).toBeGreaterThan(upTo - slack);
        }
      },
    ),
  );
});

describe("if the Krylov space ends early", () => {
  test("both eigenvalues of a matrix of rank one are found with their mass", async () => {
    const u = normals(50, 3);
    const squared = u.reduce((sum, value) => sum + value ** 2, 0);
    const vector = normals(50, 4);
    const part = u.reduce((sum, value, i) => sum + value * vector[i]!, 0);
    const found = await spectrum((v) => {
      const along = u.reduce((sum, value, i) => sum + value * v[i]!, 0);
      return u.map((value) => value * along);
    }, vector);
    expect(found).toMatchObject({ steps: 2, exhausted: true });
    expect(found.lambdaMax).toBeCloseTo(squared, 10);
    expect(Math.abs(found.lambdaMin)).toBeLessThan(1e-12);
    const whole = vector.reduce((sum, value) => sum + value ** 2, 0);
    expect(found.ritz[1]!.weight).toBeCloseTo(part ** 2 / squared / whole, 12);
    // Zero within rounding is not negative, and κ has only a lower bound.
    expect(found.negativeMass.estimate).toBe(0);
    expect(found.kappa).toMatchObject({ lowerBoundOnly: true, highest: Infinity });
  });

  test("only the eigenvalue of a starting eigenvector is found", async () => {
    const found = await spectrum((v) => v.map((value, i) => value * (i + 1)), Float64Array.of(0, 0, 5, 0));
    expect(found).toMatchObject({ steps: 1, exhausted: true, lambdaMax: 3, lambdaMin: 3 });
    expect(found.lambdaMaxError).toBeCloseTo(0, 12);
    expect(found.kappa).toMatchObject({ estimate: 1, lowerBoundOnly: false });
  });

  test("k distinct eigenvalues are all found after k products, whatever the number of steps", async () => {
    const values = [-2, 0.5, 1, 7];
    const eigenvalues = Float64Array.from({ length: 60 }, (_, i) => values[i % 4]!);
    const matrix = { name: "four values", eigenvalues, parts: normals(60, 5) };
    const { product, vector } = rotated(matrix);
    const found = await spectrum(product, vector, { steps: 30 });
    expect(found).toMatchObject({ steps: 4, exhausted: true });
    found.ritz.forEach(({ value, weight }, i) => {
      expect(value).toBeCloseTo(values[i]!, 12);
      const { below, upTo } = trueMass(matrix, values[i]!);
      expect(weight).toBeCloseTo(upTo - below, 12);
    });
    expect(found.lambdaQ.lowest).toBeCloseTo(-2, 11);
  });
});

describe("products with errors", () => {
  const n = 4000;
  // No eigenvalue is negative, and much of the mass is at small eigenvalues.
  const eigenvalues = Float64Array.from({ length: n }, (_, i) => (i < 12 ? 4 - i / 4 : 0.3 * (i / n) ** 2));
  const vector = normals(n, 1).map((value, i) => (i < 12 ? value : value / 8));
  let products = 0;
  const noisy = (size: number) => (v: Float64Array) => {
    const error = normals(n, 100 + products++);
    const length = Math.hypot(...error);
    return v.map((value, i) => value * eigenvalues[i]! + (size * error[i]!) / length);
  };

  test.each([1e-6, 1e-3, 0.03, 0.3])(
    "have a noise floor that shows errors of size %d, and results that are accurate up to it",
    async (size) => {
      const exact = await spectrum((v) => v.map((value, i) => value * eigenvalues[i]!), vector, { steps: 25 });
      const found = await spectrum(noisy(size), vector, { steps: 25 });
      expect(found.noiseFloor).toBeGreaterThan(size / 10);
      expect(found.noiseFloor).toBeLessThan(1.5 * size);
      expect(Math.abs(found.lambdaMax - exact.lambdaMax)).toBeLessThan(found.noiseFloor);
      // Errors must not be mistaken for curvature. The largest are as long as the effect of the matrix's bulk.
      expect(found.lambdaMin).toBeGreaterThan(-0.1 * size);
      expect(found.negativeMass).toMatchObject({ estimate: 0, lowest: 0 });
      expect(found.lambdaQ.lowest).toBeLessThan(exact.lambdaQ.estimate);
      expect(found.lambdaQ.highest).toBeGreaterThan(exact.lambdaQ.estimate);
    },
  );

  test("κ is a lower bound if λ_q is below the noise floor", async () => {
    const { kappa, lambdaMax, lambdaQ, noiseFloor } = await spectrum(noisy(0.3), vector, { steps: 25 });
    expect(lambdaQ.estimate).toBeLessThan(noiseFloor);
    expect(kappa).toMatchObject({ lowerBoundOnly: true, highest: Infinity, estimate: lambdaMax / noiseFloor });
    expect(kappa.lowest).toBeLessThanOrEqual(kappa.estimate);
  });
});

describe("the computation", () => {
  const diagonal = (v: Float64Array) => v.map((value, i) => value * (i + 1));
  const ones = new Float64Array(50).fill(1);

  test("reports every product, and stops on request with its results so far", async () => {
    const reports: [number, number][] = [];
    const found = await spectrum(diagonal, ones, {
      steps: 20,
      onStep: (done, steps) => {
        reports.push([done, steps]);
        return done < 7;
      },
    });
    expect(reports).toEqual([1, 2, 3, 4, 5, 6, 7].map((done) => [done, 20]));
    expect(found).toEqual(await spectrum(diagonal, ones, { steps: 7 }));
  });

  test("awaits asynchronous products", async () => {
    const later = async (v: Float64Array) => diagonal(v);
    expect(await spectrum(later, ones, { steps: 9 })).toEqual(await spectrum(diagonal, ones, { steps: 9 }));
  });

  test("does not depend on the norm of the vector", async () => {
    const [long, short] = await Promise.all(
      [1e150, 1e-150].map((size) =>
        spectrum(
          diagonal,
          ones.map(() => size),
        ),
      ),
    );
    expect(long!.lambdaMax).toBeCloseTo(short!.lambdaMax, 10);
  });

  test("refuses invalid arguments", async () => {
    for (const steps of [1, 0, 2.5, Number.NaN])
      await expectError(
        () => spectrum(diagonal, ones, { steps }),
        "invalid-argument",
        "steps: expected a whole number of at least 2",
      );
    for (const share of [0, 1, -1, Number.NaN])
      await expectError(
        () => spectrum(diagonal, ones, { share }),
        "invalid-argument",
        "share: expected a number above 0 and below 1",
      );
    await expectError(
      () => spectrum(diagonal, new Float64Array(9)),
      "invalid-argument",
      "vector: expected one that is not zero",
    );
    await expectError(() => spectrum(diagonal, Float64Array.of(1, Infinity)), "non-finite", "vector");
    let calls = 0;
    const breaks = (v: Float64Array) => v.map((value, i) => (++calls > 120 ? Number.NaN : value * (i + 1)));
    await expectError(() => spectrum(breaks, ones), "non-finite", "product 3 of at most 40 is not finite");
  });
});
