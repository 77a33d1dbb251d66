import { studentT } from "./student-t.js";

/** Fewer pairs than this have no interval: with two, it would be as wide as chance likes. */
export const fewestPairs = 3;

/** The mean of some values, and their standard deviation (n − 1), which one value alone has not. */
export interface Summary {
  readonly n: number;
  readonly mean: number;
  readonly sd?: number;
}

/** A difference in means with its interval, where there are enough pairs for one. */
export interface Difference extends Summary {
  readonly low?: number;
  readonly high?: number;
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

/** Each interval's confidence so that all of them hold together with 95 %: Bonferroni's correction. */
export function confidenceOf(comparisons: number): number {
  return 1 - 0.05 / Math.max(1, comparisons);
}

/** The mean of paired differences with Student's interval for it. */
export function pairedDifference(values: readonly number[], others: readonly number[], confidence: number): Difference {
  const differences = values.map((value, i) => value - (others[i] as number));
  const summary = summarise(differences);
  if (summary.n < fewestPairs || summary.sd === undefined) return summary;
  const half = (studentT(confidence, summary.n - 1) * summary.sd) / Math.sqrt(summary.n);
  return { ...summary, low: summary.mean - half, high: summary.mean + half };
}

/**
 * What the interval of a difference allows to say.
 *
 * @param margin differences within it were declared beforehand to make none; without it there are no ties
 */
export function verdictOn(
  { low, high }: Difference,
  { higherIsBetter, margin }: { readonly higherIsBetter: boolean; readonly margin?: number | undefined },
): Verdict {
  if (low === undefined || high === undefined) return "no interval";
  if (margin !== undefined && low >= -margin && high <= margin) return "tie";
  if (low <= 0 && high >= 0) return "not distinguished";
  return low > 0 === higherIsBetter ? "better" : "worse";
}
