// Programs with an older "lib" can read the declarations too.
/// <reference lib="esnext.disposable" preserve="true" />

import type { NativeCapture, NativeDevice } from "./addon.js";

/** Callbacks of the host around each call of `replay`. */
export interface ReplayHost {
  /** Called before the work is enqueued. It may throw. */
  before(): void;
  /** Called after the work was enqueued `times` times. */
  after(times: number): void;
}

/**
 * Work that `device.capture` captured, to be replayed with one call.
 *
 * @example
 * ```ts
 * import { openDevice, tensor } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const x = tensor(device, [1, 2, 3]);
 * let y = x;
 * const capture = device.capture(() => {
 *   y = x.square();
 * });
 * capture.replay();
 * console.log(await y.read()); // 1, 4, 9
 * ```
 */
export class Capture {
  readonly #device: NativeDevice;
  readonly #hosts: ReplayHost[] = [];
  #native: NativeCapture | undefined;
  #refused: { readonly error: unknown } | undefined;

  /** @internal Use `device.capture`. */
  constructor(device: NativeDevice) {
    this.#device = device;
  }

  /** @internal Registers callbacks around every replay. */
  onReplay(host: ReplayHost): void {
    this.#hosts.push(host);
  }

  /** @internal Notes an error that rejected a promise inside the work, which may have been ignored. */
  refuse(error: unknown): void {
    this.#refused ??= { error };
  }

  /** @internal Throws the first error that was noted. */
  expectWhole(): void {
    if (this.#refused) throw this.#refused.error;
  }

  /** @internal Ends the capture. */
  end(): void {
    this.#native = this.#device.endCapture();
  }

  /**
   * Replays the capture: enqueues its work.
   *
   * On a CPU the call returns at once. On a GPU it launches the replays. It blocks the thread, and with it the event
   * loop, while 512 launches are in flight. A replay counts as the launches that it contains, but at most as 128. To
   * keep the event loop free during many replays, make a few at a time and await `device.synchronize()` in between.
   *
   * A terminated worker thread stops at the next operation on a CPU. On a GPU it stops once the replays that were
   * launched are done.
   *
   * @param times number of replays: a whole number ≥ 0, default 1
   * @throws StepsizeError `invalid-argument` if `times` is not a whole number ≥ 0; `invalid-state` if the capture was
   * disposed, or if a captured optimizer step no longer matches its learning rates; `unsupported` if a captured dropout
   * layer has counted 2²⁴ calls
   */
  replay(times = 1): void {
    for (const host of this.#hosts) host.before();
    this.#native?.replay(times);
    for (const host of this.#hosts) host.after(times);
  }

  /** Frees the memory of the capture, which can no longer be replayed. */
  dispose(): void {
    this.#native?.dispose();
  }

  /** Calls {@link dispose} at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
