import type { PlannedRun } from "#lib/study/index.js";
import type { RunRecord } from "#lib/study/records.js";

/** The record of a run as if it had been made, with these results. */
export function recordOf(run: PlannedRun, loss: number, accuracy = 1 / (1 + loss)): RunRecord {
  const { id, spec } = run;
  const result = { loss, accuracy };
  return {
    id,
    run: spec,
    status: "completed",
    steps: run.cell.steps,
    trainLoss: loss,
    validation: result,
    ...(spec.purpose === "final" && { test: result }),
    curve: { step: [0], learningRate: [run.schedule(0)], loss: [loss] },
    seconds: 1,
    fingerprint: "0123456789ab",
    device: "cpu (avx2)",
    version: "0.1.0",
  };
}

/** The record of a run as if it had diverged. */
export function divergedRecord(run: PlannedRun): RunRecord {
  const { validation: _v, test: _t, ...record } = recordOf(run, 1);
  return { ...record, status: "diverged", steps: 3, trainLoss: null };
}
