import type { Device } from "../native/index.js";
import { copy, type Tensor, zeros } from "../tensor/index.js";
import { median } from "./interleave.js";

/** One pass: milliseconds per repetition. */
export interface Pass {
  /** On the device's own clock. */
  readonly milliseconds: number;
  /** From the host's first call until the host knows that all is done. */
  readonly wall: number;
}

// On a CPU long enough for the scheduler to spread the threads; a GPU has none.
const passMilliseconds = { cpu: 120, gpu: 20 };
const mostRepetitions = 1000;

/** Measures work on one device. */
export class Stopwatch {
  readonly #device: Device;
  /** Two tensors of the size of the GPU's cache; a CPU has none. */
  readonly #scrub: readonly [Tensor, Tensor] | undefined;

  constructor(device: Device) {
    this.#device = device;
    const cache = Number(device.describe()["l2Bytes"] ?? 0);
    const sized = () => zeros(device, [Math.ceil(cache / 4)]);
    if (cache > 0) this.#scrub = [sized(), sized()];
  }

  /** A function that measures a pass of this work, with as many repetitions as its first call finds sensible. */
  passOf(work: () => void): () => Promise<Pass> {
    let repetitions = 0;
    let scrubs = 1;
    return async () => {
      if (repetitions === 0) {
        // The first does what is done once.
        await this.#device.time(work);
        let once = await this.#device.time(work);
        if (this.#scrub) {
          const scrub = await this.#device.time(() => this.#scrubCache());
          // The device must be busy until the host has enqueued the work behind them, or it would wait for it.
          scrubs = Math.min(200, 1 + Math.ceil((2 * (await this.hostMicroseconds(work, 5))) / 1e3 / scrub));
          once += scrubs * scrub;
        }
        const most = this.#scrub ? passMilliseconds.gpu : passMilliseconds.cpu;
        repetitions = Math.min(mostRepetitions, Math.max(1, Math.round(most / once)));
      }
      return this.#scrub ? this.#passWithColdCache(work, repetitions, scrubs) : this.#pass(work, repetitions);
    };
  }

  /** Median time of one call on the host, where the device has nothing else to do. */
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
    for (const tensor of this.#scrub ?? []) tensor.dispose();
  }

  async #pass(work: () => void, repetitions: number): Promise<Pass> {
    await this.#device.synchronize();
    const begin = performance.now();
    const milliseconds = await this.#device.time(() => {
      for (let i = 0; i < repetitions; i++) work();
    });
    return { milliseconds: milliseconds / repetitions, wall: (performance.now() - begin) / repetitions };
  }

  /** Each repetition by itself, from memory that no cache holds; then, for the wall, all in a row. */
  async #passWithColdCache(work: () => void, repetitions: number, scrubs: number): Promise<Pass> {
    const times: Promise<number>[] = [];
    for (let i = 0; i < repetitions; i++) {
      for (let scrub = 0; scrub < scrubs; scrub++) this.#scrubCache();
      times.push(this.#device.time(work));
    }
    const total = (await Promise.all(times)).reduce((sum, time) => sum + time, 0);
    await this.#device.synchronize();
    const begin = performance.now();
    for (let i = 0; i < repetitions; i++) work();
    await this.#device.synchronize();
    return { milliseconds: total / repetitions, wall: (performance.now() - begin) / repetitions };
  }

  #scrubCache(): void {
    const [to, from] = this.#scrub as readonly [Tensor, Tensor];
    copy(to, from);
  }
}
