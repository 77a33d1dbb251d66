import { type Contender, interleave, median, ratioOf } from "#lib/bench/index.js";

/** The medians of a benchmark, and each contender's time relative to the first, computed per round. */
export interface Result {
  readonly name: string;
  readonly threads: number;
  /** Work of one pass, to compute a rate: floating-point operations, bytes or items. */
  readonly work?: { readonly amount: number; readonly unit: "GFLOP/s" | "GB/s" | "items/s" };
  readonly milliseconds: Record<string, number>;
  /** Median over rounds of (time of the contender)/(time of the first contender). */
  readonly ratios: Record<string, number>;
}

/** Measures the contenders alternately and returns medians in milliseconds. */
export async function compare(
  about: Pick<Result, "name" | "threads" | "work">,
  contenders: readonly Contender[],
  rounds = 11,
): Promise<Result> {
  const times = await interleave(contenders, rounds);
  const first = times.get(contenders[0]?.name as string) as number[];
  const over = (value: (list: number[]) => number) =>
    Object.fromEntries([...times].map(([name, list]) => [name, value(list)]));
  return { ...about, milliseconds: over(median), ratios: over((list) => ratioOf(list, first)) };
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
