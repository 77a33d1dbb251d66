// log |Π (1 − ηλ)| as a function of the curvature λ. It falls to −∞ at every λ = 1/η, and between two such zeros it is
// strictly concave, because each log |1 − ηλ| has the second derivative −η²/(1 − ηλ)². So between neighbouring zeros it
// has exactly one highest point, which is found by a bracketed iteration: no grid, nothing overlooked.

/** The factors 1 − ηλ of a product: each learning rate once, highest first, and how often it comes. */
export interface Factors {
  readonly rates: Float64Array;
  readonly counts: Float64Array;
}

/** A curvature and the product's logarithm there. */
export interface Peak {
  readonly curvature: number;
  readonly value: number;
}

/** Gathers equal rates. Rates of 0 do nothing and are left out. */
export function factorsOf(steps: Float64Array): Factors {
  const counted = new Map<number, number>();
  for (const rate of steps) if (rate > 0) counted.set(rate, (counted.get(rate) ?? 0) + 1);
  const rates = Float64Array.from(counted.keys()).sort().reverse();
  return { rates, counts: rates.map((rate) => counted.get(rate)!) };
}

/** log |1 − x|, exact to a few units of rounding of its argument also for small x. */
export function logFactor(x: number): number {
  return x < 1 ? Math.log1p(-x) : Math.log(x - 1);
}

/** The product's logarithm at one curvature. */
export function logProduct({ rates, counts }: Factors, curvature: number): number {
  let sum = 0;
  for (let i = 0; i < rates.length; i++) sum += counts[i]! * logFactor(rates[i]! * curvature);
  return sum;
}

/** The highest point over [lowest, highest], both ends included. */
export function highestPoint(factors: Factors, lowest: number, highest: number): Peak {
  // At a zero the slope has no sign to go by: one at an end has to be known as such, whatever the rounding of 1/η.
  const isZero = (end: number) => factors.rates.some((rate) => Math.abs(rate * end - 1) <= 4 * Number.EPSILON);
  const [leftIsZero, rightIsZero] = [isZero(lowest), isZero(highest)];
  const inside = (zero: number) =>
    zero > lowest * (1 + 4 * Number.EPSILON) && zero < highest * (1 - 4 * Number.EPSILON);
  const cuts = [lowest, ...[...factors.rates].map((rate) => 1 / rate).filter(inside), highest];
  let best: Peak = { curvature: lowest, value: -Infinity };
  for (let i = 0; i + 1 < cuts.length; i++) {
    const [first, last] = [i === 0, i + 2 === cuts.length];
    const peak = peakBetween(factors, cuts[i]!, cuts[i + 1]!, !first || leftIsZero, !last || rightIsZero);
    if (peak.value > best.value) best = peak;
  }
  // Where the range is hardly wider than the rounding of a zero, only the ends tell.
  for (const curvature of [lowest, highest]) {
    const value = logProduct(factors, curvature);
    if (value > best.value) best = { curvature, value };
  }
  return best;
}

/**
 * The highest point over [left, right], inside which there is no zero.
 *
 * @param leftIsZero whether the product vanishes at `left`, so that it rises from there; likewise `rightIsZero`
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
    // Newton for the slope times its distances from its poles, which are the zeros: that is smooth where it is not.
    const fromLeft = leftIsZero ? x - left : 1;
    const fromRight = rightIsZero ? right - x : 1;
    const turn = (leftIsZero ? fromRight : 0) - (rightIsZero ? fromLeft : 0);
    const move = (slope * fromLeft * fromRight) / (bend * fromLeft * fromRight + slope * turn);
    const next = x - move > low && x - move < high ? x - move : (low + high) / 2;
    const moved = Math.abs(next - x);
    x = next;
    // The value is flat here: a position off by 1e-9 of the width changes it by 1e-18 of what the lobe is high.
    if (moved <= 1e-9 * (right - left)) break;
  }
  return at(x);
}

/** First and second derivative by the curvature. */
function slopes({ rates, counts }: Factors, curvature: number): readonly [number, number] {
  let first = 0;
  let second = 0;
  for (let i = 0; i < rates.length; i++) {
    const pull = rates[i]! / (rates[i]! * curvature - 1);
    first += counts[i]! * pull;
    second -= counts[i]! * pull * pull;
  }
  return [first, second];
}
