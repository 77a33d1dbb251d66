// Stage 2: every operation of the table, against the CPU.
import type { Device } from "../../native/index.js";
import { type OperationCase, type OperationChecks, operationChecks } from "../operation-cases.js";
import { compareClosely, compareExactly, compareRuns, poisons, type Result, runCase } from "../operation-runs.js";
import type { Finding } from "../report.js";
import type { CaseContext, CaseGroup, Stage } from "../stage.js";

type Storage = OperationChecks["storages"][number];

/** Runs an operation twice on the device and once on the CPU, and compares the results. */
async function checkOperation(
  { device, reference }: Pick<CaseContext, "device" | "reference">,
  operation: string,
  checks: OperationChecks,
  one: OperationCase,
  storage: Storage,
): Promise<Finding> {
  const run = (on: Device, byte?: number, results: readonly Result[] = []) =>
    runCase(on, operation, checks, one, { storage, ...(byte !== undefined && { poison: { results, byte } }) });
  const cpu = await reference();
  const { results: expected } = await run(cpu);
  const first = await run(device, poisons[0], expected);
  const second = await run(device, poisons[1], expected);
  const finding = compareRuns(first, second);
  if (finding.fault) return finding;
  const { tolerance } = checks;
  const measured = { poisoned: `${first.poisoned} of ${first.outputs}` };
  if (tolerance === "exact") return { ...compareExactly(first.results, expected), measured };
  const { attributes } = tolerance;
  const sizes =
    tolerance.relativeTo === "magnitudes"
      ? await runCase(cpu, operation, checks, one, { storage, magnitudes: true, attributes })
      : undefined;
  return { ...compareClosely(first.results, expected, tolerance, one, sizes?.results), measured };
}

function groupOf(operation: string, checks: OperationChecks): CaseGroup {
  return {
    name: operation,
    cases: checks.storages.flatMap((storage) =>
      Object.entries(checks.cases).map(([shape, one]) => ({
        name: `${shape}, ${storage}`,
        run: (context: CaseContext) => checkOperation(context, operation, checks, one, storage),
      })),
    ),
  };
}

/** Every operation, forward and gradient. */
export const operationsStage: Stage = {
  name: "operations",
  title: "every operation, forward and gradient, in float32 and bfloat16, against the CPU",
  groups: () => Object.entries(operationChecks).map(([operation, checks]) => groupOf(operation, checks)),
  parallel: true,
};
