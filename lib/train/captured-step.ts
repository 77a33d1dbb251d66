import type { Batch } from "../data/index.js";
import type { Capture, Device } from "../native/index.js";
import type { Tensor } from "../tensor/index.js";
import { type BatchTensors, disposeBatch, shaped } from "./evaluate.js";

/** A step of training on batches of certain shapes, captured: batches are copied in, and the step is one call. */
export class CapturedStep {
  /** What the captured work reads, one for each gradient of the step; theirs from now on. */
  readonly inputs: readonly BatchTensors[];
  readonly #capture: Capture;
  readonly #losses: readonly Tensor[];

  /** @param work makes the step with `inputs`, and returns their losses */
  constructor(device: Device, inputs: readonly BatchTensors[], work: () => readonly Tensor[]) {
    let losses: readonly Tensor[] = [];
    this.#capture = device.capture(() => {
      losses = work();
    });
    this.#losses = losses;
    this.inputs = inputs;
  }

  /** Copies a batch into the inputs at this place, and returns those; not where its shape is another. */
  write(index: number, { inputs, labels, moves }: Batch): BatchTensors | undefined {
    const own = this.inputs[index] as BatchTensors;
    const { data, shape } = shaped(labels);
    if (String(own.x.shape) !== String(inputs.shape) || String(own.y.shape) !== String(shape)) return undefined;
    if ((own.moves === undefined) !== (moves === undefined)) return undefined;
    own.x.write(inputs.data);
    own.y.write(data);
    if (moves) own.moves?.write(moves);
    return own;
  }

  /** Makes the step with what was written last. */
  replay(): Promise<number>[] {
    this.#capture.replay();
    return this.#losses.map((loss) => loss.item());
  }

  dispose(): void {
    this.#capture.dispose();
    for (const loss of this.#losses) loss.dispose();
    for (const one of this.inputs) disposeBatch(one);
  }
}
