import { StepsizeError } from "../errors.js";
import type { Capture, Device } from "../native/index.js";
import { affine, copy, noGrad, Tensor } from "../tensor/index.js";

/** Beyond, float32 does not have all whole numbers. */
const mostCalls = 2 ** 24;

/**
 * The count of a module's calls inside captured work, kept on the device so that a replay goes on with it. The host's
 * count is the one that holds: it is written to the device where the two differ.
 */
export class CapturedCalls {
  readonly #count: Tensor;
  /** Calls in the captured work. */
  #made = 0;

  constructor(capture: Capture, device: Device, module: { counter: number }) {
    // In the memory of the captured work, as everything that is made in it.
    this.#count = new Tensor(device, device.native.create("float32", [])).keep();
    let onDevice: number | undefined;
    capture.onReplay({
      before: () => {
        if (module.counter >= mostCalls)
          throw new StepsizeError("unsupported", `dropout: captured work counts to ${mostCalls} calls, no further`);
        if (onDevice !== module.counter) this.#count.write(Float32Array.of(module.counter));
      },
      after: (times) => {
        module.counter += times * this.#made;
        onDevice = module.counter;
      },
    });
  }

  /** How many calls there were before this one, as a tensor. */
  next(): Tensor {
    this.#made++;
    return noGrad(() => {
      const before = affine(this.#count, 1);
      copy(this.#count, affine(before, 1, 1));
      return before;
    });
  }
}
