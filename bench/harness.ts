/** One contender: how long one pass takes, in milliseconds. */
export interface Contender {
  readonly name: string;
  run(): Promise<number> | number;
}

/** The medians of a benchmark, and each contender's time relative to the first, round by round. */
export interface Result {
  readonly name: string;
  readonly threads: number;
  /** Work in one pass, for a rate: floating-point operations, bytes or items. */
  readonly work?: { readonly amount: number; readonly unit: "GFLOP/s" | "GB/s" | "items/s" };
  readonly milliseconds: Record<string, number>;
  /** Median over rounds of (time of the contender)/(time of the first contender). */
  readonly ratios: Record<string, number>;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

const pause = (milliseconds: number) => new Promise((done) => setTimeout(done, milliseconds));

/**
 * Runs the contenders in turn, A B C A B C …, so that drifts of the machine's speed meet all of them, and gives
 * medians. The first round is a warm-up. A pass should take a tenth of a second or more: after a pause the scheduler
 * may leave two threads on one core for a while.
 */
export async function interleave(
  about: Pick<Result, "name" | "threads" | "work">,
  contenders: readonly Contender[],
  rounds = 11,
): Promise<Result> {
  const times: Record<string, number[]> = Object.fromEntries(contenders.map(({ name }) => [name, []]));
  for (let round = 0; round <= rounds; round++)
    for (const { name, run } of contenders) {
      // Threads of the one before may still spin while they wait for work (OpenBLAS: some 30 ms).
      await pause(100);
      const time = await run();
      if (round > 0) times[name]?.push(time);
    }
  const first = times[contenders[0]?.name as string] as number[];
  const over = <T>(value: (list: number[]) => T) =>
    Object.fromEntries(Object.entries(times).map(([name, list]) => [name, value(list)]));
  return {
    ...about,
    milliseconds: over(median),
    ratios: over((list) => median(list.map((time, i) => time / (first[i] as number)))),
  };
}

export function show({ name, threads, work, milliseconds, ratios }: Result): string {
  const title = `${name}, ${threads} thread${threads > 1 ? "s" : ""}`;
  const rows = Object.entries(milliseconds).map(([contender, ms]) => {
    const rate = work ? `${formatRate(work.amount / ms, work.unit)} ${work.unit}`.padStart(18) : "";
    const ratio = (ratios[contender] as number).toFixed(3);
    return `  ${contender.padEnd(26)}${ms.toFixed(3).padStart(11)} ms${rate}   × ${ratio}`;
  });
  return [title, ...rows].join("\n");
}

function formatRate(perMillisecond: number, unit: string): string {
  return unit === "items/s" ? (perMillisecond * 1e3).toFixed(0) : (perMillisecond / 1e6).toFixed(1);
}
