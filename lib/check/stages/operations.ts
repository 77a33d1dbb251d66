// Stage 2: every operation of the table, against the CPU.
import { messageOf } from "../../realms.js";
import { type OperationCase, type OperationChecks, operationChecks } from "../operation-cases.js";
import { compareClosely, compareExactly, compareRuns, poisons, runCase } from "../operation-runs.js";
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
  inTf32 = false,
): Promise<Finding> {
  const cpu = await reference();
  const { results: expected } = await runCase(cpu, operation, checks, one, {
    storage,
    ...(inTf32 && { tf32: "exactly" }),
  });
  const run = (byte: number) =>
    runCase(device, operation, checks, one, {
      storage,
      poison: { results: expected, byte },
      ...(inTf32 && { tf32: "with digits below" }),
    });
  const first = await run(poisons[0]);
  const second = await run(poisons[1]);
  const finding = compareRuns(first, second);
  if (finding.fault) return finding;
  const tolerance = (inTf32 && checks.tf32) || checks.tolerance;
  const measured = { poisoned: `${first.poisoned} of ${first.outputs}` };
  if (tolerance === "exact") return { ...compareExactly(first.results, expected), measured };
  const { attributes } = tolerance;
  const sizes =
    tolerance.relativeTo === "magnitudes"
      ? await runCase(cpu, operation, checks, one, { storage, magnitudes: true, attributes })
      : undefined;
  return { ...compareClosely(first.results, expected, tolerance, one, sizes?.results), measured };
}

/** Checks an operation on the device with products in TF32. A CPU must refuse them. */
async function checkInTf32(
  { device, reference, open }: CaseContext,
  operation: string,
  checks: OperationChecks,
  one: OperationCase,
): Promise<Finding> {
  const opened = open({ float32Products: "tf32" });
  if (device.name !== "cpu")
    return checkOperation({ device: await opened, reference }, operation, checks, one, "float32", true);
  const problem = await opened.then(() => undefined, messageOf);
  return problem?.startsWith("float32Products: ") ? {} : { fault: "wrong", message: `TF32 on a CPU: ${problem}` };
}

function groupOf(operation: string, checks: OperationChecks): CaseGroup {
  return {
    name: operation,
    cases: [
      ...checks.storages.flatMap((storage) =>
        Object.entries(checks.cases).map(([shape, one]) => ({
          name: `${shape}, ${storage}`,
          run: (context: CaseContext) => checkOperation(context, operation, checks, one, storage),
        })),
      ),
      ...Object.entries(checks.tf32 ? checks.cases : {}).map(([shape, one]) => ({
        name: `${shape}, TF32`,
        run: (context: CaseContext) => checkInTf32(context, operation, checks, one),
      })),
    ],
  };
}

/** Every operation, forward and gradient. */
export const operationsStage: Stage = {
  name: "operations",
  title: "every operation, forward and gradient, in float32, bfloat16 and TF32, against the CPU",
  groups: () => Object.entries(operationChecks).map(([operation, checks]) => groupOf(operation, checks)),
  parallel: true,
};
