import type { Batch } from "../data/index.js";
import { itemAt } from "../lookup.js";
import type { Capture, Device } from "../native/index.js";
import type { Optimizer } from "../optim/index.js";
import { sameShape } from "../shapes.js";
import type { Tensor } from "../tensor/index.js";
import { type BatchTensors, disposeBatch, shaped } from "./evaluate.js";
import { MetricsRing } from "./metrics-ring.js";
import { partsIn, partsOf } from "./step-loss.js";
import type { StepMetrics } from "./step-record.js";

type AnyOptimizer = Pick<Optimizer<never>, "checksGradients" | "deviceState" | "statsOf">;

/**
 * A captured training step for batches of fixed shapes. Batches are copied into its inputs, and one call replays the
 * step and its metrics.
 */
export class CapturedStep {
  /** The inputs of the captured work, one per batch. Ownership passes to this object. */
  readonly inputs: readonly BatchTensors[];
  readonly #capture: Capture;
  readonly #ring: MetricsRing;
  readonly #optimizer: AnyOptimizer;

  /**
   * Captures the step.
   *
   * @param work makes the step with `inputs` and returns the loss of each
   */
  constructor(device: Device, inputs: readonly BatchTensors[], optimizer: AnyOptimizer, work: () => readonly Tensor[]) {
    const stats = optimizer.checksGradients ? [optimizer.deviceState] : [];
    this.#ring = new MetricsRing(
      device,
      stats.reduce((sum, { size }) => sum + size, partsIn(inputs.length)),
    );
    try {
      this.#capture = device.capture(() => {
        const losses = work();
        this.#ring.write([...losses.flatMap((loss) => partsOf(loss, inputs.length)), ...stats]);
        for (const loss of losses) loss.dispose();
      });
    } catch (error) {
      this.#ring.dispose();
      throw error;
    }
    this.#optimizer = optimizer;
    this.inputs = inputs;
  }

  /** Copies a batch into the inputs at an index and returns them; `undefined` if the batch has other shapes. */
  write(index: number, { inputs, labels, moves }: Batch): BatchTensors | undefined {
    const captured = itemAt(this.inputs, index);
    const { data, shape } = shaped(labels);
    if (!sameShape(captured.x.shape, inputs.shape) || !sameShape(captured.y.shape, shape)) return undefined;
    if ((captured.moves === undefined) !== (moves === undefined)) return undefined;
    captured.x.write(inputs.data);
    captured.y.write(data);
    if (moves) captured.moves?.write(moves);
    return captured;
  }

  /**
   * Replays the step with the batches that were written last. At most `MetricsRing.rows` replays may precede a call of
   * {@link metrics}.
   */
  replay(): void {
    this.#capture.replay();
    this.#ring.wrote();
  }

  /** Returns the metrics of the replays since the last call, in order. */
  async metrics(): Promise<StepMetrics[]> {
    const rows = await this.#ring.read();
    const parts = partsIn(this.inputs.length);
    return rows.map((row) => ({
      losses: [...row.subarray(0, parts)],
      stats: this.#optimizer.checksGradients ? this.#optimizer.statsOf(row.subarray(parts)) : undefined,
    }));
  }

  /** Frees the memory of the captured work and of its inputs. */
  dispose(): void {
    this.#capture.dispose();
    this.#ring.dispose();
    for (const batch of this.inputs) disposeBatch(batch);
  }
}
