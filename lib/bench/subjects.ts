import type { NativeTensor } from "../native/addon.js";
import type { Device } from "../native/index.js";
import { copy, type Tensor } from "../tensor/index.js";
import type { EnqueuedRecord, Sized } from "./cost.js";
import {
  bytesPerParameter,
  listTypes,
  makeMeasuredOptimizer,
  optimizerOf,
  parameterType,
  type Setting,
} from "./setting.js";
import { totalElements, type Workload } from "./shapes.js";
import { randomTensor } from "./values.js";

/** Work to measure. `dispose` frees its memory. */
export interface Subject {
  work(): void;
  dispose(): void;
}

/** The parameters of a model with their gradients. */
export class Model {
  readonly #setting: Setting;
  readonly #parameters: readonly Tensor[];

  constructor(device: Device, { shapes }: Workload, setting: Setting) {
    this.#setting = setting;
    const type = parameterType(setting);
    this.#parameters = shapes.map((shape, i) => {
      const parameter = randomTensor(device, shape, type, 2 * i);
      parameter.requiresGrad = true;
      parameter.grad = randomTensor(device, shape, type, 2 * i + 1);
      return parameter;
    });
  }

  /** Creates one optimizer for all parameters. */
  fused(): Subject {
    const optimizer = makeMeasuredOptimizer(this.#setting, this.#parameters);
    return { work: () => optimizer.step(), dispose: () => optimizer.dispose() };
  }

  /** Creates one optimizer per parameter, so that the same kernel runs once for each. */
  perTensor(): Subject {
    const optimizers = this.#parameters.map((parameter) => makeMeasuredOptimizer(this.#setting, [parameter]));
    return {
      work: () => {
        for (const optimizer of optimizers) optimizer.step();
      },
      dispose: () => {
        for (const optimizer of optimizers) optimizer.dispose();
      },
    };
  }

  dispose(): void {
    for (const parameter of this.#parameters) {
      parameter.grad?.dispose();
      parameter.dispose();
    }
  }
}

/** Creates a plain loop with the reads and writes of the update, over one tensor of all elements. */
export function loop(device: Device, workload: Workload, setting: Setting): Subject {
  const { rule } = optimizerOf(setting);
  const tensors = listTypes(setting).map((type, i) => randomTensor(device, [totalElements(workload)], type, i));
  const lists = tensors.map(({ handle }) => {
    const list = device.native.list();
    list.set([handle]);
    return list;
  });
  return { work: () => void device.enqueue("traffic", [], { rule }, lists), dispose: disposeAll(tensors) };
}

/** Creates a copy that moves as many bytes as the update, reads and writes together. */
export function bareCopy(device: Device, workload: Workload, setting: Setting): Subject {
  const words = Math.ceil((totalElements(workload) * bytesPerParameter(setting)) / 8);
  const [to, from] = [randomTensor(device, [words], "float32", 0), randomTensor(device, [words], "float32", 1)];
  return { work: () => copy(to, from), dispose: disposeAll([to, from]) };
}

function disposeAll(tensors: readonly Tensor[]): () => void {
  return () => {
    for (const tensor of tensors) tensor.dispose();
  };
}

/** Counts the records that the work enqueues, except at its first run. */
export function countRecords(device: Device, { work }: Subject): number {
  // The first step of an optimizer also creates its state.
  work();
  let records = 0;
  const stop = observeRecords(device, () => records++);
  try {
    work();
  } finally {
    stop();
  }
  return records;
}

/** Calls a function with every record that is enqueued on a device, until the returned function is called. */
export function observeRecords(device: Device, observe: (record: EnqueuedRecord) => void): () => void {
  const { enqueue } = device;
  device.enqueue = (...given) => {
    const outputs = enqueue.apply(device, given);
    const [operation, inputs, attributes = {}] = given;
    // The handles may be disposed of before the record is used.
    const sized = ({ shape, dtype }: NativeTensor): Sized => ({ shape, dtype });
    const { float32Products } = device;
    observe({ operation, inputs: inputs.map(sized), outputs: outputs.map(sized), attributes, float32Products });
    return outputs;
  };
  // This uncovers the method of the class again.
  return () => {
    Reflect.deleteProperty(device, "enqueue");
  };
}
