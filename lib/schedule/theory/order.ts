// In exact arithmetic the order of the steps does not matter to a quadratic. In floats it does: the factors 1 − ηλ of the
// large steps are huge, those of the small ones tiny, and what is rounded while the error is huge stays.

import { invalidArgument } from "../../errors.js";
import { type CurvatureRange, readRange, readSteps, type Steps } from "./input.js";
import { factorsOf, highestPoint } from "./log-product.js";

/**
 * The steps from the highest to the lowest, as schedules have them. The error grows enormously on the way (by 10^27 for
 * 64 Chebyshev steps at κ = 100) and then shrinks; what is rounded in between stays. Noise that is added at each step is
 * not amplified by this order.
 *
 * @throws `invalid-argument` for learning rates that are negative or not finite
 */
export function decreasing(steps: Steps): Float64Array {
  return readSteps("steps", steps).sort().reverse();
}

/**
 * The order of Lebedev and Finogenov (1971) for a power of two of steps: large and small ones paired, and the pairs
 * paired again. For Chebyshev steps every product of the first few and of the last few stays small. Agarwal, Goel and
 * Zhang (ICML 2021) found the same order as the fractal schedule.
 *
 * @throws `invalid-argument` for another number of steps, or learning rates that are negative or not finite
 */
export function lebedevFinogenov(steps: Steps): Float64Array {
  const falling = decreasing(steps);
  const { length } = falling;
  if (length === 0 || !Number.isInteger(Math.log2(length))) {
    invalidArgument("steps", "a power of two of learning rates (leja takes any number)", length);
  }
  let order = [0];
  while (order.length < length) {
    const size = 2 * order.length;
    order = order.flatMap((i) => [i, size - 1 - i]);
  }
  return Float64Array.from(order, (i) => falling[i]!);
}

/**
 * Leja's order, for any number of steps: after the lowest rate always that whose own curvature 1/η is left the largest
 * by the steps so far. Of steps so far that are equal to the one in question the factors, which are 0, are left out;
 * with them all repetitions would come last, and many steps at a bound are then as bad as the decreasing order.
 *
 * Takes a time that grows with the square of the number of steps. Steps of 0 come last.
 *
 * @throws `invalid-argument` for learning rates that are negative or not finite
 */
export function leja(steps: Steps): Float64Array {
  const rest = [...decreasing(steps)].reverse();
  const idle = rest.filter((rate) => rate === 0);
  const left = rest.slice(idle.length).map((rate) => ({ rate, size: 0 }));
  const order: number[] = [];
  while (left.length > 0) {
    let next = 0;
    for (const [i, { size }] of left.entries()) if (size > left[next]!.size) next = i;
    const { rate } = left.splice(next, 1)[0]!;
    order.push(rate);
    for (const other of left) if (other.rate !== rate) other.size += Math.log(Math.abs(1 - rate / other.rate));
  }
  return Float64Array.from([...order, ...idle]);
}

/**
 * By how much an order of steps magnifies rounding: the natural logarithm of the largest, over all moments of the run,
 * of the worst product of the steps before times the worst product of the steps after. An error that was rounded at
 * relative precision ε at that moment ends up to this many times ε large. At least the worst case itself.
 *
 * Takes a time that grows with the cube of the number of steps (0.3 s for 128).
 *
 * @param steps learning rates in the order they are taken, in units of 1/curvature
 * @param range the lowest and the highest curvature, both above 0
 * @throws `invalid-argument` for a range that is none, or rates that are negative or not finite
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
