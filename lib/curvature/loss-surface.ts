import type { Batch } from "../data/index.js";
import { StepsizeError } from "../errors.js";
import type { ArrayOf, DataType, Device } from "../native/index.js";
import { Buffer, type Loss, type Module } from "../nn/index.js";
import { type Tensor, tidy } from "../tensor/index.js";
import { lossOf, upload } from "../train/evaluate.js";

/** Options of {@link LossSurface.of}. */
export interface SurfaceOptions {
  readonly model: Module;
  readonly batch: Batch;
  readonly loss: Loss;
  /** Function from raw inputs to inputs of the model. */
  readonly prepare: (raw: Tensor) => Tensor;
}

/** The loss at a point, and its gradient with respect to all weights that are not frozen. */
export interface Slope {
  readonly loss: number;
  readonly gradient: Float64Array;
}

/**
 * The loss of one batch as a function of a model's weights. It is the same function at every call.
 *
 * Layers behave as in training, so batch normalization uses the statistics of the batch. Running statistics and the
 * counters of dropout, which change at every call, are restored afterwards.
 *
 * A call changes the weights, enqueues the work and restores the weights before it returns its promise. So other code
 * always finds the model bit-identical to before.
 */
export class LossSurface {
  /** Number of weights that are not frozen. */
  readonly size: number;
  readonly #options: SurfaceOptions;
  readonly #data: { readonly x: Tensor; readonly y: Tensor };
  readonly #parameters: readonly SavedTensor<"float32">[];
  readonly #buffers: readonly SavedTensor[];

  private constructor(
    options: SurfaceOptions,
    device: Device,
    parameters: readonly SavedTensor<"float32">[],
    buffers: readonly SavedTensor[],
  ) {
    this.#options = options;
    this.#parameters = parameters;
    this.#buffers = buffers;
    this.size = parameters.reduce((sum, { values }) => sum + values.length, 0);
    this.#data = upload(device, options.batch);
  }

  /**
   * Makes the loss surface around a model's present weights.
   *
   * @throws StepsizeError `unsupported` if weights are not float32; `invalid-argument` if all weights are frozen
   */
  static async of(options: SurfaceOptions): Promise<LossSurface> {
    const { model } = options;
    const learned = model.parameters().filter(({ requiresGrad }) => requiresGrad);
    const [first] = learned;
    if (!first)
      throw new StepsizeError("invalid-argument", "model: nothing in it is learned, so nothing has curvature");
    const weights = learned.map((parameter) => {
      if (parameter.hasType("float32")) return save<"float32">(parameter.name, parameter);
      const { name, dtype } = parameter;
      throw new StepsizeError("unsupported", `${name}: curvature needs float32 weights, these are ${dtype}`);
    });
    const buffers = [...model.stateDict()].filter(([, tensor]) => tensor instanceof Buffer);
    const saved = await Promise.all([Promise.all(weights), Promise.all(buffers.map((buffer) => save(...buffer)))]);
    return new LossSurface(options, first.device, ...saved);
  }

  /** Paths and sizes of the parameters that are not frozen, in the order of the gradient. */
  get parts(): readonly { readonly name: string; readonly size: number }[] {
    return this.#parameters.map(({ name, values }) => ({ name, size: values.length }));
  }

  /** Euclidean norm of all weights that are not frozen. */
  get norm(): number {
    return Math.sqrt(this.#parameters.reduce((sum, { values }) => values.reduce((part, w) => part + w * w, sum), 0));
  }

  /**
   * Returns loss and gradient at the weights, or at a distance from them.
   *
   * @param along direction in which the weights are moved. Default: they are not moved.
   * @param distance factor of the direction. Default 1.
   * @throws StepsizeError `invalid-state` if other code changed the weights in the meantime. The promise rejects then.
   */
  async at(along?: Float64Array, distance = 1): Promise<Slope> {
    const { loss, gradients } = this.#enqueue(along, distance);
    const [value, parts] = await Promise.all([loss, Promise.all(gradients)]);
    const gradient = new Float64Array(this.size);
    let offset = 0;
    this.#parameters.forEach(({ values }, i) => {
      const part = parts[i];
      if (part) gradient.set(part, offset);
      offset += values.length;
    });
    return { loss: value, gradient };
  }

  /** Frees the memory of the batch on the device. */
  close(): void {
    for (const tensor of Object.values(this.#data)) tensor.dispose();
  }

  #enqueue(along: Float64Array | undefined, distance: number) {
    const { model, loss, prepare } = this.#options;
    for (const { name, tensor, version } of this.#parameters)
      if (tensor.handle.version !== version)
        throw new StepsizeError(
          "invalid-state",
          `${name} was changed by somebody else while its curvature was measured`,
        );
    const modes = model.modules().map((module) => ({ module, training: module.training }));
    const counters = model.counters();
    const gradients = this.#parameters.map(({ tensor }) => tensor.grad);
    for (const { tensor } of this.#parameters) tensor.grad = undefined;
    try {
      model.train();
      if (along) this.#move(along, distance);
      const { x, y } = this.#data;
      const value = tidy(() => {
        const result = lossOf(loss, model.forward(prepare(x)), y);
        result.backward();
        return result;
      });
      const read = value.item();
      value.dispose();
      return { loss: read, gradients: this.#parameters.map(({ tensor }) => tensor.grad?.read()) };
    } finally {
      this.#parameters.forEach(({ tensor }, i) => {
        tensor.zeroGrad();
        tensor.grad = gradients[i];
      });
      if (along) for (const saved of this.#parameters) write(saved, saved.values);
      for (const saved of this.#buffers) write(saved, saved.values);
      model.loadCounters(counters);
      for (const { module, training } of modes) module.training = training;
    }
  }

  #move(along: Float64Array, distance: number): void {
    let offset = 0;
    for (const saved of this.#parameters) {
      const { values } = saved;
      write(
        saved,
        values.map((value, i) => value + distance * along[offset + i]!),
      );
      offset += values.length;
    }
  }
}

/** A tensor with the values that are restored after each call. */
interface SavedTensor<D extends DataType = DataType> {
  readonly name: string;
  readonly tensor: Tensor<D>;
  readonly values: ArrayOf<D>;
  /** Version of the tensor after the last write of this class. */
  version: number;
}

async function save<D extends DataType>(name: string, tensor: Tensor<D>): Promise<SavedTensor<D>> {
  const { version } = tensor.handle;
  return { name, tensor, values: await tensor.read(), version };
}

function write<D extends DataType>(saved: SavedTensor<D>, values: ArrayOf<D>): void {
  saved.tensor.write(values);
  saved.version = saved.tensor.handle.version;
}
