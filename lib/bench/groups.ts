import { type BenchSize, operationCases, operationGroups } from "./operation-cases.js";
import { copyRows, operationRow } from "./operation-rows.js";
import { optimizerRows } from "./optimizer-rows.js";
import type { GroupName } from "./rows.js";
import type { PlannedRow } from "./timing.js";
import { TorchSession, torchRows } from "./torch-rows.js";
import { trainingRow, trainingSubjects } from "./training-rows.js";

/** Rows that are measured one after another in one process. */
export interface BenchGroup {
  readonly name: GroupName;
  readonly rows: readonly PlannedRow[];
}

/**
 * Returns the groups of the benchmark in the order of their importance: copies first, because other rows are compared
 * with them, and PyTorch last. Both sizes have the same groups, and the same number of rows in each.
 */
export function benchGroups(size: BenchSize): BenchGroup[] {
  const cases = operationCases(size);
  return [
    { name: "copy", rows: copyRows(size) },
    { name: "optimizer", rows: optimizerRows(size) },
    ...operationGroups.map((name) => ({ name, rows: cases.filter(({ group }) => group === name).map(operationRow) })),
    ...trainingSubjects(size).map((subject) => ({
      name: subject.name,
      rows: (["stepsize", "captured"] as const).map((contender) => trainingRow(subject, size, contender)),
    })),
    { name: "PyTorch", rows: torchRows(size, new TorchSession()) },
  ];
}
