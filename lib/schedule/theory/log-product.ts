// log |Π (1 − ηλ)| as a function of the curvature λ. It is −∞ at every λ = 1/η. Between two such zeros it is strictly
// concave, because each log |1 − ηλ| has the second derivative −η²/(1 − ηλ)². So between neighboring zeros it has
// exactly one highest point. A bracketed iteration finds each of them, so that none is missed.

/** The factors 1 − ηλ of a product: the distinct learning rates, highest first, and their counts. */
export interface Factors {
  readonly rates: Float64Array;
  readonly counts: Float64Array;
}

/** A curvature with the logarithm of the contraction there. */
export interface Peak {
  /** The curvature λ. */
  readonly curvature: number;
  /** log |Π (1 − ηλ)|, the natural logarithm of the contraction at λ. */
  readonly value: number;
}

/** Counts equal rates. Rates of 0 have no effect and are left out. */
export function factorsOf(steps: Float64Array): Factors {
  const counted = new Map<number, number>();
  for (const rate of steps) if (rate > 0) counted.set(rate, (counted.get(rate) ?? 0) + 1);
  const falling = [...counted].sort(([a], [b]) => b - a);
  return {
    rates: Float64Array.from(falling, ([rate]) => rate),
    counts: Float64Array.from(falling, ([, count]) => count),
  };
}

/** Returns log |1 − x|. It is accurate to a few rounding errors of its argument, also for small x. */
export function logFactor(x: number): number {
  return x < 1 ? Math.log1p(-x) : Math.log(x - 1);
}

/** Returns the logarithm of the product at one curvature. */
export function logProduct({ rates, counts }: Factors, curvature: number): number {
  let sum = 0;
  for (let i = 0; i < rates.length; i++) sum += counts[i]! * logFactor(rates[i]! * curvature);
  return sum;
}

/** Returns the highest point over [lowest, highest], including both ends. */
export function highestPoint(factors: Factors, lowest: number, highest: number): Peak {
  // At a zero the slope has no sign. So a zero at an end of the range must be recognized, despite the rounding of 1/η.
  const isZero = (end: number) => factors.rates.some((rate) => Math.abs(rate * end - 1) <= 4 * Number.EPSILON);
  const [leftIsZero, rightIsZero] = [isZero(lowest), isZero(highest)];
  const inside = (zero: number) =>
    zero > lowest * (1 + 4 * Number.EPSILON) && zero < highest * (1 - 4 * Number.EPSILON);
  const cuts: [number, ...number[]] = [lowest, ...[...factors.rates].map((rate) => 1 / rate).filter(inside), highest];
  let best: Peak = { curvature: lowest, value: -Infinity };
  for (const [i, [left, right]] of intervals(cuts).entries()) {
    const [first, last] = [i === 0, i + 2 === cuts.length];
    const peak = peakBetween(factors, left, right, !first || leftIsZero, !last || rightIsZero);
    if (peak.value > best.value) best = peak;
  }
  // If the range is hardly wider than the rounding error of a zero, the highest point is one of its ends.
  for (const curvature of [lowest, highest]) {
    const value = logProduct(factors, curvature);
    if (value > best.value) best = { curvature, value };
  }
  return best;
}

/** Returns the intervals between neighboring cuts. */
export function intervals(cuts: readonly [number, ...number[]]): [left: number, right: number][] {
  const [first, ...rights] = cuts;
  let left = first;
  return rights.map((right) => {
    const interval: [number, number] = [left, right];
    left = right;
    return interval;
  });
}

/**
 * Returns the highest point over [left, right]. There must be no zero inside.
 *
 * @param leftIsZero whether the product is 0 at `left`, so that it rises from there
 * @param rightIsZero whether the product is 0 at `right`
 */
export function peakBetween(
  factors: Factors,
  left: number,
  right: number,
  leftIsZero: boolean,
  rightIsZero: boolean,
): Peak {
  const at = (curvature: number): Peak => ({ curvature, value: logProduct(factors, curvature) });
  if (!leftIsZero && slopes(factors, left)[0] <= 0) return at(left);
  if (!rightIsZero && slopes(factors, right)[0] >= 0) return at(right);
  let low = left;
  let high = right;
  let x = (left + right) / 2;
  for (let round = 0; round < 60; round++) {
    const [slope, bend] = slopes(factors, x);
    if (slope > 0) low = x;
    else high = x;
    // Newton's method for the slope times the distances from its poles, which are the zeros. Unlike the slope itself,
    // this product is smooth at the ends.
    const fromLeft = leftIsZero ? x - left : 1;
    const fromRight = rightIsZero ? right - x : 1;
    const turn = (leftIsZero ? fromRight : 0) - (rightIsZero ? fromLeft : 0);
    const move = (slope * fromLeft * fromRight) / (bend * fromLeft * fromRight + slope * turn);
    const next = x - move > low && x - move < high ? x - move : (low + high) / 2;
    const moved = Math.abs(next - x);
    x = next;
    // The value is flat at its peak: an error of 1e-9 of the width changes it by 1e-18 of the height of the lobe.
    if (moved <= 1e-9 * (right - left)) break;
  }
  return at(x);
}

/** Returns the first and the second derivative with respect to the curvature. */
function slopes({ rates, counts }: Factors, curvature: number): readonly [number, number] {
  let first = 0;
  let second = 0;
  for (let i = 0; i < rates.length; i++) {
    const rate = rates[i]!;
    const count = counts[i]!;
    const pull = rate / (rate * curvature - 1);
    first += count * pull;
    second -= count * pull * pull;
  }
  return [first, second];
}
