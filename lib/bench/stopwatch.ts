import type { Device } from "../native/index.js";
import { copy, type Tensor, zeros } from "../tensor/index.js";
import { median } from "./interleave.js";

/** The times of one pass, in milliseconds per repetition. */
export interface Pass {
  /** Time on the device's clock. */
  readonly milliseconds: number;
  /** Wall time from the host's first call to the end of the synchronization. */
  readonly wall: number;
}

/** Length of a pass in milliseconds. On a CPU, it gives the scheduler time to spread the threads. */
export const passMilliseconds = { cpu: 120, gpu: 20 };
const maxRepetitions = 1000;

/** Measures work on one device. */
export class Stopwatch {
  readonly #device: Device;
  /** Two tensors of the size of the GPU's cache; none on a CPU. */
  readonly #scrubTensors: readonly Tensor[] = [];
  /** Evicts the GPU's cache by a copy between the tensors; `undefined` on a CPU. */
  readonly #scrub: (() => void) | undefined;

  constructor(device: Device) {
    this.#device = device;
    const cache = Number(device.describe()["l2Bytes"] ?? 0);
    if (cache === 0) return;
    const shape = [Math.ceil(cache / 4)];
    const [to, from] = [zeros(device, shape), zeros(device, shape)];
    this.#scrubTensors = [to, from];
    this.#scrub = () => copy(to, from);
  }

  /** Returns a function that measures a pass of work. Its first call determines the number of repetitions. */
  passOf(work: () => void): () => Promise<Pass> {
    let repetitions = 0;
    let scrubs = 1;
    const scrub = this.#scrub;
    return async () => {
      if (repetitions === 0) {
        // The first run includes one-time initialization.
        await this.#device.time(work);
        let once = await this.#device.time(work);
        if (scrub) {
          const scrubTime = await this.#device.time(scrub);
          // The scrubs keep the device busy until the host has enqueued the work after them.
          scrubs = Math.min(200, 1 + Math.ceil((2 * (await this.hostMicroseconds(work, 5))) / 1e3 / scrubTime));
          once += scrubs * scrubTime;
        }
        const milliseconds = scrub ? passMilliseconds.gpu : passMilliseconds.cpu;
        repetitions = Math.min(maxRepetitions, Math.max(1, Math.round(milliseconds / once)));
      }
      return scrub ? this.#passWithColdCache(work, repetitions, { scrub, scrubs }) : this.#pass(work, repetitions);
    };
  }

  /** Measures the median time of a call on the host, in microseconds, while the device is idle. */
  async hostMicroseconds(call: () => void, calls = 25): Promise<number> {
    const times: number[] = [];
    for (let i = 0; i < calls; i++) {
      await this.#device.synchronize();
      const begin = performance.now();
      call();
      times.push((performance.now() - begin) * 1e3);
    }
    await this.#device.synchronize();
    return median(times);
  }

  dispose(): void {
    for (const tensor of this.#scrubTensors) tensor.dispose();
  }

  async #pass(work: () => void, repetitions: number): Promise<Pass> {
    await this.#device.synchronize();
    const begin = performance.now();
    const milliseconds = await this.#device.time(() => {
      for (let i = 0; i < repetitions; i++) work();
    });
    return { milliseconds: milliseconds / repetitions, wall: (performance.now() - begin) / repetitions };
  }

  /** Measures each repetition with a cold cache. Then measures the wall time of consecutive repetitions. */
  async #passWithColdCache(
    work: () => void,
    repetitions: number,
    { scrub, scrubs }: { readonly scrub: () => void; readonly scrubs: number },
  ): Promise<Pass> {
    const times: Promise<number>[] = [];
    for (let i = 0; i < repetitions; i++) {
      for (let count = 0; count < scrubs; count++) scrub();
      times.push(this.#device.time(work));
    }
    const total = (await Promise.all(times)).reduce((sum, time) => sum + time, 0);
    await this.#device.synchronize();
    const begin = performance.now();
    for (let i = 0; i < repetitions; i++) work();
    await this.#device.synchronize();
    return { milliseconds: total / repetitions, wall: (performance.now() - begin) / repetitions };
  }
}
