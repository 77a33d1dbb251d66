import { itemAt } from "../lookup.js";

/** Work to compare. `run` measures one pass. */
export interface Contender<T = number> {
  readonly name: string;
  run(): Promise<T> | T;
}

/** Median and quartiles of several measurements. */
export interface Spread {
  readonly median: number;
  /** First quartile. */
  readonly lower: number;
  /** Third quartile. */
  readonly upper: number;
}

const pause = (milliseconds: number) => new Promise((done) => setTimeout(done, milliseconds));

/**
 * Runs the contenders in turns, A B C A B C …, so that changes of the machine's speed affect all of them equally. An extra
 * round before the first warms up and is not counted. On a CPU, a pass should take at least a tenth of a second, because
 * after a pause the scheduler may leave two threads on one core for a while.
 *
 * @param rounds number of counted rounds
 * @param shouldContinue called before every pass; if it returns false, the complete rounds are the result
 * @param idle milliseconds before every pass, if there are several contenders. On a CPU, threads of the previous
 * contender may still spin while they wait for work (with OpenBLAS for about 30 ms).
 * @returns the passes of each contender by its name, one per round
 */
export async function interleave<T>(
  contenders: readonly Contender<T>[],
  rounds: number,
  shouldContinue: (round: number) => boolean = () => true,
  idle = 100,
): Promise<Map<string, T[]>> {
  const done: T[][] = [];
  for (let round = 0; round <= rounds; round++) {
    const passes: T[] = [];
    for (const contender of contenders) {
      if (!shouldContinue(round)) break;
      if (contenders.length > 1 && idle > 0) await pause(idle);
      passes.push(await contender.run());
    }
    if (passes.length < contenders.length) break;
    if (round > 0) done.push(passes);
  }
  return new Map(contenders.map(({ name }, i) => [name, done.map((passes) => itemAt(passes, i))]));
}

/** Computes a quantile with linear interpolation. */
function quantile(sorted: readonly number[], share: number): number {
  const at = share * (sorted.length - 1);
  const [below, above] = [itemAt(sorted, Math.floor(at)), itemAt(sorted, Math.ceil(at))];
  return below + (above - below) * (at - Math.floor(at));
}

/** Computes the median and the quartiles of at least one value. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  return { median: quantile(sorted, 0.5), lower: quantile(sorted, 0.25), upper: quantile(sorted, 0.75) };
}

/** Computes the median of at least one value. */
export function median(values: readonly number[]): number {
  return spreadOf(values).median;
}

/** Computes the ratio of two times in each round, and returns the median over the rounds. */
export function ratioOf(times: readonly number[], baseline: readonly number[]): number {
  return median(times.map((time, i) => time / itemAt(baseline, i)));
}
