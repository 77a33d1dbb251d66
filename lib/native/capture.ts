import type { NativeDevice, NativeGraph } from "./addon.js";

/** What the host does around a replay of its work. */
export interface ReplayHost {
  /** What the captured work relies on. */
  before(): void;
  /** What the host counts itself. */
  after(times: number): void;
}

/** Work that was recorded by `device.capture`. */
export class Capture {
  readonly #native: NativeDevice;
  readonly #hosts: ReplayHost[] = [];
  #graph: NativeGraph | undefined;
  #refused: { readonly error: unknown } | undefined;

  /** @internal Use `device.capture`. */
  constructor(native: NativeDevice) {
    this.#native = native;
  }

  /** @internal Calls back around every replay. */
  onReplay(host: ReplayHost): void {
    this.#hosts.push(host);
  }

  /** @internal Something in the work was refused, in a promise that nobody may wait for. */
  refuse(error: unknown): void {
    this.#refused ??= { error };
  }

  /** @internal Throws what was refused. */
  expectWhole(): void {
    if (this.#refused) throw this.#refused.error;
  }

  /** @internal */
  end(): void {
    this.#graph = this.#native.endCapture();
  }

  /**
   * Enqueues the captured work as many times in a row. Returns at once on a CPU; on a GPU each replay is a launch, and the
   * call waits while the driver's queue of about 1,000 launches is full. A worker thread that is terminated stops at the
   * next operation on a CPU, and at the next 64 replays on a GPU.
   * @param times a whole number of at least 0, default 1
   */
  replay(times = 1): void {
    for (const host of this.#hosts) host.before();
    this.#graph?.replay(times);
    for (const host of this.#hosts) host.after(times);
  }

  /** Gives back the memory that only the captured work holds; it cannot be replayed any more. */
  dispose(): void {
    this.#graph?.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
