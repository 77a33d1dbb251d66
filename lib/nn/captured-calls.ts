import { StepsizeError } from "../errors.js";
import type { Capture, Device } from "../native/index.js";
import { affine, copy, noGrad, Tensor } from "../tensor/index.js";

/** Largest count: float32 does not represent all larger whole numbers. */
const maxCalls = 2 ** 24;

/**
 * The number of a module's calls inside a capture. It is stored on the device so that replays can advance it. The
 * module's own counter has precedence: if the two differ, it is written to the device before a replay.
 */
export class CapturedCalls {
  readonly #count: Tensor<"float32">;
  /** Number of calls in the capture. */
  #made = 0;

  constructor(capture: Capture, device: Device, module: { counter: number }) {
    // The tensor is in the memory of the capture, as everything that is made there.
    this.#count = new Tensor(device, device.native.create("float32", [])).keep();
    let onDevice: number | undefined;
    capture.onReplay({
      before: () => {
        if (module.counter >= maxCalls)
          throw new StepsizeError("unsupported", `dropout: a capture counts to ${maxCalls} calls, no further`);
        if (onDevice !== module.counter) this.#count.write(Float32Array.of(module.counter));
      },
      after: (times) => {
        module.counter += times * this.#made;
        onDevice = module.counter;
      },
    });
  }

  /** Returns the number of calls before this one, as a tensor, and counts this call. */
  next(): Tensor<"float32"> {
    this.#made++;
    return noGrad(() => {
      const before = affine(this.#count, 1);
      copy(this.#count, affine(before, 1, 1));
      return before;
    });
  }
}
