import { studentT, twoSidedP } from "./student-t.js";

/** Fewer pairs than this have no interval: with two, it would be as wide as chance likes. */
export const fewestPairs = 3;

/** The mean of some values, and their standard deviation (n − 1), which one value alone has not. */
export interface Summary {
  readonly n: number;
  readonly mean: number;
  readonly sd?: number;
}

/** The chance that is taken of a wrong claim among all the comparisons of a cell. */
const level = 0.05;

/** A difference in means, with its interval and its p-value if there are enough pairs for them. */
export interface Difference extends Summary {
  readonly low?: number;
  readonly high?: number;
  /** Two-sided, of the paired t-test, for this comparison alone. */
  readonly p?: number;
}

/** What a difference to UBA says; a schedule is better where its accuracy is higher, or its loss lower. */
export type Verdict = "better" | "worse" | "tie" | "not distinguished" | "no interval";

/** Mean and standard deviation of at least one value. */
export function summarise(values: readonly number[]): Summary {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  if (n < 2) return { n, mean };
  return { n, mean, sd: Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1)) };
}

/** The confidence of each interval with which all of them hold together with 95 %: Bonferroni's correction. */
export function confidenceOf(comparisons: number): number {
  return 1 - level / Math.max(1, comparisons);
}

/**
 * Holm's adjusted p-values, in the order given: the i-th smallest p times the number of comparisons that are not
 * smaller, at least the adjusted value before it, at most 1. R has them as `p.adjust(p, "holm")`. Rejecting what is at
 * most 5 % rejects a true null hypothesis with at most 5 %, however the comparisons depend on each other; Bonferroni
 * never rejects more.
 *
 * @param ps p-values; a comparison without one is never rejected
 */
export function holm<P extends number | undefined>(ps: readonly P[]): P[] {
  const order = ps.flatMap((p, index) => (p === undefined ? [] : [{ p, index }])).sort((a, b) => a.p - b.p);
  const adjusted: P[] = [...ps];
  let before = 0;
  for (const [rank, { p, index }] of order.entries()) {
    before = Math.max(before, Math.min(1, (ps.length - rank) * p));
    adjusted[index] = before as P;
  }
  return adjusted;
}

/** The mean of paired differences with Student's interval for it and the p-value of Student's test. */
export function pairedDifference(values: readonly number[], others: readonly number[], confidence: number): Difference {
  const differences = values.map((value, i) => value - (others[i] as number));
  const summary = summarise(differences);
  if (summary.n < fewestPairs || summary.sd === undefined) return summary;
  const half = (studentT(confidence, summary.n - 1) * summary.sd) / Math.sqrt(summary.n);
  // Without any spread, differences of 0 leave t undefined (0/0) and say nothing; others leave no doubt.
  const t = summary.mean === 0 ? 0 : summary.mean / (summary.sd / Math.sqrt(summary.n));
  return { ...summary, low: summary.mean - half, high: summary.mean + half, p: twoSidedP(t, summary.n - 1) };
}

/**
 * The verdict on a difference.
 *
 * Better and worse go by Holm's adjusted p-value, of which at most 5 % is a verdict. A tie goes by the interval. Each
 * of the two kinds of claim is wrong anywhere in a cell with at most 5 %.
 *
 * @param adjustedP from {@link holm} over all comparisons of the cell
 * @param margin differences within it were declared beforehand to make none; without it there are no ties
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
