// Checks a certificate of the bounded min-max problem independently of the solver: by multiplying out, and by a Remez
// exchange in coefficients, which is accurate enough for a few free steps.
import type { Certificate, Minimax, ProblemOptions } from "#lib/schedule/theory/index.js";
import { contraction, worstOnGrid } from "./quadratic.js";

/** Returns everything that is wrong with a result, in words. Empty for a valid result. */
export function faults(options: ProblemOptions, { steps, value, certificate }: Minimax): string[] {
  const { budget, maxLr = Number.POSITIVE_INFINITY, minLr = 0 } = options;
  const [lowest, highest] = options.curvature;
  const { atMaxLr, atMinLr, points } = certificate;
  const found: string[] = [];
  const expect = (holds: boolean, what: string) => {
    if (!holds) found.push(what);
  };
  // The accuracy of the heights: T² units of rounding, and more if the curvatures are nearly equal (docs/uba.md).
  const close = (16 * Number.EPSILON * (budget + 1) ** 2 * highest) / (highest - lowest);

  expect(steps.length === budget, "as many steps as the budget");
  expect(
    steps.every((rate, s) => rate <= maxLr && rate >= minLr && rate <= (s === 0 ? rate : steps[s - 1]!)),
    "falling steps within the bounds",
  );
  expect(
    steps.slice(0, atMaxLr).every((rate) => rate === maxLr),
    "as many steps at maxLr as it says",
  );
  expect(
    steps.slice(budget - atMinLr).every((rate) => rate === minLr),
    "as many steps at minLr as it says",
  );

  // A single point decides if the rate is the same everywhere and no other rate is better at that curvature.
  const [point] = points;
  const decided =
    (atMaxLr === budget && point?.curvature === lowest && maxLr * lowest <= 1) ||
    (atMinLr === budget && point?.curvature === highest && minLr * highest >= 1);
  const free = steps.slice(atMaxLr, budget - atMinLr);
  expect(points.length === free.length + 1, "one point more than free steps");
  for (const [i, { curvature, value: height }] of points.entries()) {
    const product = contraction(steps, curvature);
    const size = Math.abs(product.value);
    const rounding = product.error / size + budget * Math.abs(Math.log(size)) * Number.EPSILON;
    expect(curvature >= lowest && curvature <= highest, `point ${i} in the range`);
    expect(Math.abs(Math.log(size) - height) <= 2 * rounding + 1e-15, `the product at point ${i} is what it says`);
    expect(Math.abs(height - value) <= close, `point ${i} is as high as the value`);
    // The polynomial of the free steps has one zero between two points, so its sign alternates.
    expect(Math.sign(contraction(free, curvature).value) === (-1) ** i, `the sign alternates at point ${i}`);
  }
  expect(worstOnGrid(steps, lowest, highest) <= Math.exp(value) * (1 + 2 * close + 1e-12), "no curvature is worse");
  if (!decided) found.push(...missing(options, certificate, value, close));
  return found;
}

/** The numbers of steps at the bounds that the certificate fails to exclude. */
function missing(
  { budget, maxLr = Number.POSITIVE_INFINITY, minLr = 0, curvature }: ProblemOptions,
  { atMaxLr, atMinLr, excluded }: Certificate,
  value: number,
  close: number,
): string[] {
  const outside = new Set(excluded.filter(({ because }) => because === "outside").map(named));
  // A face with at least as many steps at the bounds is a smaller problem, and therefore not better.
  const worse = excluded.filter((face) => face.because === "not-better" && face.value >= value - close);
  worse.push({ atMaxLr, atMinLr, value, because: "not-better" });
  const found: string[] = [];
  for (let k = 0; k <= budget; k++) {
    for (let j = 0; k + j <= budget; j++) {
      // Lowering a step above 1/λ_l is better everywhere, and so is raising a step below 1/λ_u.
      const pointless = (k > 0 && maxLr * curvature[0] >= 1) || (j > 0 && minLr * curvature[1] <= 1);
      const ruledOut =
        pointless ||
        outside.has(named({ atMaxLr: k, atMinLr: j })) ||
        worse.some((f) => f.atMaxLr <= k && f.atMinLr <= j);
      if (!ruledOut) found.push(`${k} at maxLr and ${j} at minLr are ruled out`);
    }
  }
  return found;
}

function named({ atMaxLr, atMinLr }: { readonly atMaxLr: number; readonly atMinLr: number }): string {
  return `${atMaxLr},${atMinLr}`;
}

/**
 * Solves the weighted Chebyshev problem of one face by Remez's exchange in the coefficients of q. Returns the logarithm
 * of its value, and how many zeros of q are inside the bounds. For at most three free steps and a moderate κ.
 */
export function remez(
  { budget, maxLr = Number.POSITIVE_INFINITY, minLr = 0, curvature: [lowest, highest] }: ProblemOptions,
  k: number,
  j: number,
): { value: number; inside: number } {
  const n = budget - k - j;
  const weight = (x: number) => (k > 0 ? Math.abs(1 - maxLr * x) ** k : 1) * (j > 0 ? Math.abs(1 - minLr * x) ** j : 1);
  const grid = Array.from({ length: 20_001 }, (_, i) => lowest * (highest / lowest) ** (i / 20_000));
  let reference = Array.from({ length: n + 1 }, (_, i) => grid[Math.round(((i + 0.5) / (n + 1)) * 20_000)]!);
  let q = (_: number) => 1;
  let level = weight(grid[0]!);
  for (let round = 0; round < 100; round++) {
    // 1 + Σ c_d x^d = (−1)^i h / weight at each point of the reference.
    const rows = reference.map((x, i) => [
      ...Array.from({ length: n }, (_, d) => (x / highest) ** (d + 1) * weight(x)),
      -((-1) ** i),
      -weight(x),
    ]);
    const solution = eliminate(rows);
    level = Math.abs(solution[n]!);
    q = (x) => solution.slice(0, n).reduce((sum, c, d) => sum + c * (x / highest) ** (d + 1), 1);
    // The highest point of each interval of constant sign, and of these the highest n + 1 neighbors.
    const stretches: { x: number; size: number; sign: number }[] = [];
    for (const x of grid) {
      const error = weight(x) * q(x);
      const last = stretches.at(-1);
      if (error === 0) continue;
      if (last?.sign !== Math.sign(error)) stretches.push({ x, size: Math.abs(error), sign: Math.sign(error) });
      else if (Math.abs(error) > last.size) stretches[stretches.length - 1] = { ...last, x, size: Math.abs(error) };
    }
    while (stretches.length > n + 1) stretches[0]!.size < stretches.at(-1)!.size ? stretches.shift() : stretches.pop();
    if (stretches.length < n + 1) break;
    const highestPoint = Math.max(...stretches.map(({ size }) => size));
    reference = stretches.map(({ x }) => x);
    if (highestPoint <= level * (1 + 1e-12)) break;
  }
  let inside = 0;
  const within = grid.filter((x) => x > 1 / maxLr && x < (minLr > 0 ? 1 / minLr : Number.POSITIVE_INFINITY));
  for (let i = 1; i < within.length; i++) if (q(within[i - 1]!) * q(within[i]!) < 0) inside++;
  return { value: Math.log(level), inside };
}

/** Solves linear equations. Each row contains the coefficients and the right-hand side. */
function eliminate(rows: number[][]): number[] {
  const n = rows.length;
  for (let c = 0; c < n; c++) {
    const pivot = rows.slice(c).reduce((best, row) => (Math.abs(row[c]!) > Math.abs(best[c]!) ? row : best));
    rows.splice(rows.indexOf(pivot), 1);
    rows.splice(c, 0, pivot);
    for (const row of rows) {
      if (row === pivot) continue;
      const factor = row[c]! / pivot[c]!;
      for (let i = c; i <= n; i++) row[i]! -= factor * pivot[i]!;
    }
  }
  return rows.map((row, i) => row[n]! / row[i]!);
}
