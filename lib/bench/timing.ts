import { valueAt } from "../lookup.js";
import type { Device } from "../native/index.js";
import type { Cost } from "./cost.js";
import { interleave, spreadOf } from "./interleave.js";
import { predictedMilliseconds } from "./predictions.js";
import type { MeasuredRow, RowTitle } from "./rows.js";
import type { Stopwatch } from "./stopwatch.js";

/** How the rows of a group are measured. */
export interface Timing {
  readonly device: Device;
  readonly stopwatch: Stopwatch;
  /** Number of timed passes of a row. */
  readonly rounds: number;
  /** Called before every pass. If it returns false, the complete passes are the result. */
  readonly shouldContinue: () => boolean;
}

/** The times of a row. */
export type Times = Pick<MeasuredRow, "milliseconds" | "rounds" | "hostMicroseconds">;

const hostCalls = 5;

/**
 * Measures work by the device's clock, and its calls by the host's clock.
 *
 * @returns `undefined` if it was stopped before the first pass was complete
 */
async function timeWork(timing: Timing, work: () => void): Promise<Times | undefined> {
  const { stopwatch, rounds, shouldContinue } = timing;
  const passes = valueAt(
    await interleave([{ name: "work", run: stopwatch.passOf(work) }], rounds, shouldContinue),
    "work",
  );
  if (passes.length === 0) return undefined;
  return {
    milliseconds: spreadOf(passes.map(({ milliseconds }) => milliseconds)),
    rounds: passes.length,
    hostMicroseconds: await stopwatch.hostMicroseconds(work, hostCalls),
  };
}

/** Work whose rows are measured when `measure` is called. If it was stopped before the first pass, there are none. */
export interface PlannedRow {
  readonly title: RowTitle;
  readonly measure: (timing: Timing) => Promise<MeasuredRow[]>;
}

/** Plans the measurement of work that needs no more than its resources. */
export function plannedWork(
  title: RowTitle,
  cost: Cost,
  prepare: (device: Device) => { readonly work: () => void; readonly resources: readonly { dispose(): void }[] },
): PlannedRow {
  return {
    title,
    measure: async (timing) => {
      const { work, resources } = prepare(timing.device);
      try {
        const times = await timeWork(timing, work);
        const { bytes, flops } = cost;
        const predicted = predictedMilliseconds(cost);
        return times ? [{ ...title, ...times, cost: { bytes, flops }, predictedMilliseconds: predicted }] : [];
      } finally {
        for (const resource of resources) resource.dispose();
      }
    },
  };
}
