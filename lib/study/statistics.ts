import { itemAt } from "../lookup.js";
import { studentT, twoSidedP } from "./student-t.js";

/** Smallest number of pairs that have an interval. The interval of two pairs would be arbitrarily wide. */
export const minPairs = 3;

/** Mean and standard deviation (n − 1) of some values. A single value has no standard deviation. */
export interface Summary {
  readonly n: number;
  readonly mean: number;
  readonly sd?: number;
}

/** Significance level for all comparisons of a cell together. */
const level = 0.05;

/** A difference in means, with its interval and its p-value if there are enough pairs. */
export interface Difference extends Summary {
  readonly low?: number;
  readonly high?: number;
  /** Two-sided p-value of the paired t-test, not adjusted for other comparisons. */
  readonly p?: number;
}

/** The verdict on a difference to UBA. A schedule is better if its accuracy is higher or its loss is lower. */
export type Verdict = "better" | "worse" | "tie" | "not distinguished" | "no interval";

/** Computes the mean and standard deviation of at least one value. */
export function summarize(values: readonly number[]): Summary {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  if (n < 2) return { n, mean };
  return { n, mean, sd: Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1)) };
}

/** Returns the confidence of each interval such that all intervals hold together with 95 % (Bonferroni's correction). */
export function confidenceOf(comparisons: number): number {
  return 1 - level / Math.max(1, comparisons);
}

/**
 * Adjusts p-values by Holm's method, in the given order, like `p.adjust(p, "holm")` in R. The i-th smallest p-value is
 * multiplied by the number of comparisons that are not smaller. The result is at least the adjusted value before it and
 * at most 1. Rejecting all values of at most 5 % rejects any true null hypothesis with a probability of at most 5 %, even
 * if the comparisons are dependent. Bonferroni's method never rejects more.
 *
 * @param ps p-values; a comparison without one is never rejected
 */
export function holm(ps: readonly number[]): number[];
export function holm(ps: readonly (number | undefined)[]): (number | undefined)[];
export function holm(ps: readonly (number | undefined)[]): (number | undefined)[] {
  const order = ps.flatMap((p, index) => (p === undefined ? [] : [{ p, index }])).sort((a, b) => a.p - b.p);
  const adjusted = [...ps];
  let before = 0;
  for (const [rank, { p, index }] of order.entries()) {
    before = Math.max(before, Math.min(1, (ps.length - rank) * p));
    adjusted[index] = before;
  }
  return adjusted;
}

/** Computes the mean of paired differences, its Student-t interval and the p-value of the paired t-test. */
export function pairedDifference(
  values: readonly number[],
  baseline: readonly number[],
  confidence: number,
): Difference {
  const differences = values.map((value, i) => value - itemAt(baseline, i));
  const summary = summarize(differences);
  if (summary.n < minPairs || summary.sd === undefined) return summary;
  const half = (studentT(confidence, summary.n - 1) * summary.sd) / Math.sqrt(summary.n);
  // Without spread, t is 0/0 for differences of 0, which count as no difference, and infinite for others.
  const t = summary.mean === 0 ? 0 : summary.mean / (summary.sd / Math.sqrt(summary.n));
  return { ...summary, low: summary.mean - half, high: summary.mean + half, p: twoSidedP(t, summary.n - 1) };
}

/**
 * Gives the verdict on a difference.
 *
 * "Better" and "worse" require an adjusted p-value of at most 5 %. "Tie" requires an interval within the margin. For each
 * of these two kinds, the probability of any wrong verdict in a cell is at most 5 %.
 *
 * @param adjustedP from {@link holm} over all comparisons of the cell
 * @param margin largest difference that was declared in advance to be a tie; without it there are no ties
 */
export function verdictOn(
  { mean, low, high }: Difference,
  {
    adjustedP,
    higherIsBetter,
    margin,
  }: {
    readonly adjustedP: number | undefined;
    readonly higherIsBetter: boolean;
    readonly margin?: number | undefined;
  },
): Verdict {
  if (low === undefined || high === undefined || adjustedP === undefined) return "no interval";
  if (margin !== undefined && low >= -margin && high <= margin) return "tie";
  if (adjustedP > level) return "not distinguished";
  return mean > 0 === higherIsBetter ? "better" : "worse";
}
