// In exact arithmetic the order of the steps does not matter for a quadratic. In floating-point arithmetic it does: the
// factors 1 − ηλ of large steps are huge and those of small steps are tiny. Rounding errors that are made while the
// error is huge remain.

import { invalidArgument } from "../../errors.js";
import { itemAt } from "../../lookup.js";
import { type CurvatureRange, readRange, readSteps, type Steps } from "./input.js";
import { factorsOf, highestPoint } from "./log-product.js";

/**
 * Returns the steps in decreasing order, as in most schedules.
 *
 * During the run the error first grows enormously (by 10^27 for 64 Chebyshev steps at κ = 100) and then shrinks.
 * Rounding errors that are made in between remain. Noise that is added at each step is not amplified by this order.
 *
 * @param steps a schedule, or learning rates in units of 1/curvature
 * @throws StepsizeError `invalid-argument` if a learning rate is negative or not finite
 */
export function decreasing(steps: Steps): Float64Array {
  return readSteps("steps", steps).sort().reverse();
}

/**
 * Returns the steps in the order of Lebedev and Finogenov: large and small steps are paired, and the pairs are paired
 * again.
 *
 * For Chebyshev steps, the products of the first few and of the last few steps stay small.
 *
 * Source: Lebedev & Finogenov, 1971. Agarwal, Goel & Zhang, ICML 2021, call the same order the fractal schedule.
 *
 * @param steps a schedule, or learning rates in units of 1/curvature; their number must be a power of two
 * @throws StepsizeError `invalid-argument` for another number of steps, or if a learning rate is negative or not finite
 */
export function lebedevFinogenov(steps: Steps): Float64Array {
  const falling = [...decreasing(steps)];
  const { length } = falling;
  if (length === 0 || !Number.isInteger(Math.log2(length))) {
    invalidArgument("steps", "a power of two of learning rates (leja takes any number)", length);
  }
  let order = [0];
  while (order.length < length) {
    const size = 2 * order.length;
    order = order.flatMap((i) => [i, size - 1 - i]);
  }
  return Float64Array.from(order, (i) => itemAt(falling, i));
}

/**
 * Returns the steps in Leja's order, for any number of steps.
 *
 * The lowest rate comes first. Each next rate η is the one for which the product of the steps so far is largest at the
 * curvature 1/η. Factors of steps that equal η are 0 and are left out of this product. Otherwise all repetitions would
 * come last, and many steps at a bound would be as bad as the decreasing order. Rates of 0 come last.
 *
 * The time grows with the square of the number of steps.
 *
 * @param steps a schedule, or learning rates in units of 1/curvature
 * @throws StepsizeError `invalid-argument` if a learning rate is negative or not finite
 */
export function leja(steps: Steps): Float64Array {
  const rising = [...decreasing(steps)].reverse();
  const idle = rising.filter((rate) => rate === 0);
  const remaining = rising.slice(idle.length).map((rate) => ({ rate, size: 0 }));
  const order: number[] = [];
  while (remaining.length > 0) {
    const next = remaining.reduce((best, candidate) => (candidate.size > best.size ? candidate : best));
    remaining.splice(remaining.indexOf(next), 1);
    const { rate } = next;
    order.push(rate);
    for (const candidate of remaining) {
      if (candidate.rate !== rate) candidate.size += Math.log(Math.abs(1 - rate / candidate.rate));
    }
  }
  return Float64Array.from([...order, ...idle]);
}

/**
 * Returns how much an order of steps amplifies rounding errors, as a natural logarithm.
 *
 * For each point of the run, take the worst product of the steps before it times the worst product of the steps after
 * it. The result is the logarithm of the largest of these. A rounding error of relative size ε at that point can become
 * this many times ε at the end. The result is at least the worst case of the steps.
 *
 * The time grows with the cube of the number of steps (0.3 s for 128).
 *
 * @param steps a schedule, or learning rates in the order of the steps, in units of 1/curvature
 * @param range the lowest and the highest curvature, both above 0
 * @throws StepsizeError `invalid-argument` if the range is invalid, or if a learning rate is negative or not finite
 */
export function roundingGrowth(steps: Steps, range: CurvatureRange): number {
  const rates = readSteps("steps", steps);
  const [lowest, highest] = readRange("range", range);
  const worst = (part: Float64Array) => highestPoint(factorsOf(part), lowest, highest).value;
  let growth = -Infinity;
  for (let at = 0; at <= rates.length; at++) {
    growth = Math.max(growth, worst(rates.subarray(0, at)) + worst(rates.subarray(at)));
  }
  return growth;
}
