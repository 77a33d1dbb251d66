import type { NativeDevice, NativeGraph } from "./addon.js";

/** Work that was recorded by `device.capture`. */
export class Capture {
  readonly #native: NativeDevice;
  readonly #replayed: ((times: number) => void)[] = [];
  #graph: NativeGraph | undefined;

  /** @internal Use `device.capture`. */
  constructor(native: NativeDevice) {
    this.#native = native;
  }

  /** @internal Calls back after every replay, for what the host counts itself. */
  onReplay(replayed: (times: number) => void): void {
    this.#replayed.push(replayed);
  }

  /** @internal */
  end(): void {
    this.#graph = this.#native.endCapture();
  }

  /**
   * Enqueues the captured work as many times in a row; returns at once.
   * @param times a whole number of at least 0, default 1
   */
  replay(times = 1): void {
    this.#graph?.replay(times);
    for (const replayed of this.#replayed) replayed(times);
  }

  /** Gives back the memory that only the captured work holds; it cannot be replayed any more. */
  dispose(): void {
    this.#graph?.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
