// One call of every operation of the table, large enough for several chunks and tiles.
import { type OperationCase, operationChecks } from "#lib/check/operation-cases.js";
import { createInput, listOf, listSalt, runCase } from "#lib/check/operation-runs.js";
import type { Tensor } from "#lib/tensor/index.js";

export { listOf };

type Device = Tensor["device"];

const float32 = { storage: "float32" } as const;

/** What to enqueue: the large case that `stepsize check` has of each operation. */
export const recipes: Readonly<Record<string, OperationCase>> = Object.fromEntries(
  Object.entries(operationChecks).map(([operation, { cases }]) => [operation, cases.large]),
);

/** Creates a recipe's inputs on a device. */
export function inputsOf(device: Device, { inputs }: OperationCase): Tensor[] {
  return inputs.map((input, salt) => createInput(device, input, salt, float32));
}

/** Creates the tensors of a recipe's lists on a device. */
export function listsOf(device: Device, { lists = [] }: OperationCase): Tensor[][] {
  return lists.map((list, i) => list.map((input, k) => createInput(device, input, listSalt(i, k), float32)));
}

/** Runs a recipe and returns the bytes of everything that it wrote. */
export async function run(device: Device, operation: string): Promise<Buffer> {
  const { results } = await runCase(device, operation, operationChecks[operation]!, recipes[operation]!, float32);
  return Buffer.concat(results.map(({ values }) => Buffer.from(values.buffer, values.byteOffset, values.byteLength)));
}
