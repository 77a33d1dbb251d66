/** One of those that are compared: measures one pass. */
export interface Contender<T = number> {
  readonly name: string;
  run(): Promise<T> | T;
}

/** The middle of several measurements, and how far they lie apart. */
export interface Spread {
  readonly median: number;
  /** The first and the third quartile. */
  readonly lower: number;
  readonly upper: number;
}

const pause = (milliseconds: number) => new Promise((done) => setTimeout(done, milliseconds));

/**
 * Runs the contenders in turn, A B C A B C …, so that drifts of the machine's speed meet all of them, and gives the
 * passes of each, round by round. A round before the first warms up and is not counted. On a CPU a pass should take a
 * tenth of a second or more: after a pause the scheduler may leave two threads on one core for a while.
 *
 * @param goesOn asked before every pass; where it says no, the rounds that are complete are the result
 */
export async function interleave<T>(
  contenders: readonly Contender<T>[],
  rounds: number,
  goesOn: (round: number) => boolean = () => true,
): Promise<Map<string, T[]>> {
  const done: T[][] = [];
  for (let round = 0; round <= rounds; round++) {
    const passes: T[] = [];
    for (const contender of contenders) {
      if (!goesOn(round)) break;
      // Threads of the one before may still spin while they wait for work (OpenBLAS: some 30 ms).
      await pause(100);
      passes.push(await contender.run());
    }
    if (passes.length < contenders.length) break;
    if (round > 0) done.push(passes);
  }
  return new Map(contenders.map(({ name }, i) => [name, done.map((passes) => passes[i] as T)]));
}

/** The value below which a share of them lies; between two of them it is interpolated. */
function quantile(sorted: readonly number[], share: number): number {
  const at = share * (sorted.length - 1);
  const [below, above] = [sorted[Math.floor(at)] as number, sorted[Math.ceil(at)] as number];
  return below + (above - below) * (at - Math.floor(at));
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  return { median: quantile(sorted, 0.5), lower: quantile(sorted, 0.25), upper: quantile(sorted, 0.75) };
}

export function median(values: readonly number[]): number {
  return spreadOf(values).median;
}

/** Median over the rounds of a time relative to another's in the same round. */
export function ratioOf(times: readonly number[], to: readonly number[]): number {
  return median(times.map((time, i) => time / (to[i] as number)));
}
