import { itemAt } from "../lookup.js";
import { type Device, type Float32Products, openDevice } from "../native/index.js";
import { elementCount } from "../shapes.js";
import { copy, execute, type Tensor, tensor } from "../tensor/index.js";
import { drawIds } from "./ids.js";
import type { BenchSize, Input, OperationCase } from "./operation-cases.js";
import { copyGroup } from "./rows.js";
import { Stopwatch } from "./stopwatch.js";
import { type PlannedRow, plannedWork } from "./timing.js";
import { randomTensor } from "./values.js";

/** Plans the measurement of an operation of a training step. A CPU has no rows of products in TF32. */
export function operationRow(one: OperationCase): PlannedRow {
  const { group, name, operation, attributes, float32Products } = one;
  const row = plannedWork({ group, name, contender: "stepsize" }, one, (device) => {
    const inputs = createInputs(device, one.inputs);
    const work = () => {
      for (const result of execute(operation, inputs, attributes)) result.dispose();
    };
    return { work, resources: inputs };
  });
  return float32Products === undefined ? row : onAnotherDevice(row, float32Products);
}

/** Measures a row on the same device, opened with other products of float32. */
function onAnotherDevice({ title, measure }: PlannedRow, float32Products: Float32Products): PlannedRow {
  return {
    title,
    measure: async (timing) => {
      if (timing.device.name === "cpu") return [];
      const device = await openDevice(timing.device.name, { float32Products });
      const stopwatch = new Stopwatch(device);
      try {
        return await measure({ ...timing, device, stopwatch });
      } finally {
        stopwatch.dispose();
        await device.close();
      }
    },
  };
}

/** Creates all tensors or, if the memory does not suffice, none. */
export function createInputs(device: Device, inputs: readonly Input[]): Tensor[] {
  const tensors: Tensor[] = [];
  try {
    for (const [salt, input] of inputs.entries()) tensors.push(createInput(device, input, salt));
    return tensors;
  } catch (error) {
    for (const one of tensors) one.dispose();
    throw error;
  }
}

function createInput(device: Device, { shape, dtype, below, ids = "uniform" }: Input, salt: number): Tensor {
  if (below === undefined) return randomTensor(device, shape, dtype, salt);
  return tensor(device, drawIds(ids, elementCount(shape), below, salt), shape);
}

/** Bytes that the measured copies move, reads and writes together. The largest is that of AdamW over 1e8 numbers. */
const copiedBytes: Readonly<Record<BenchSize, readonly number[]>> = {
  full: [1e6, 4e6, 16e6, 64e6, 256e6, 1e9, 2.8e9],
  small: [1e3, 2e3, 4e3, 1e4, 4e4, 1e5, 1e6],
};

/** Plans the measurement of the device's own copy in several sizes. */
export function copyRows(size: BenchSize): PlannedRow[] {
  return copiedBytes[size].map((bytes) => {
    const title = { group: copyGroup, name: `copy, ${bytes / 1e6} MB`, contender: "stepsize" } as const;
    return plannedWork(title, { family: "copy", bytes, flops: 0 }, (device) => {
      const half: Input = { shape: [bytes / 8], dtype: "float32" };
      const resources = createInputs(device, [half, half]);
      const [to, from] = [itemAt(resources, 0), itemAt(resources, 1)];
      return { work: () => copy(to, from), resources };
    });
  });
}
