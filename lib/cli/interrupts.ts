import { exitCode, Interrupted } from "./failure.js";

/**
 * A second signal sooner than this after the first is the same key press: npm passes Ctrl-C on to a program that the
 * terminal has already told.
 */
const sameKeyPress = 250;

/** Turns the first SIGINT or SIGTERM into a polite request, and the second into the end of the process. */
export class Interrupts {
  readonly #onRequest: () => void;
  #since: number | undefined;
  readonly #listener = () => {
    const now = performance.now();
    if (this.#since === undefined) {
      this.#since = now;
      this.#onRequest();
    } else if (now - this.#since > sameKeyPress) {
      process.exit(exitCode.interrupted);
    }
  };

  /** @param onRequest called once, at the first signal */
  constructor(onRequest: () => void) {
    this.#onRequest = onRequest;
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, this.#listener);
  }

  /** Whether a signal came. */
  get requested(): boolean {
    return this.#since !== undefined;
  }

  /** @throws Interrupted where a signal came */
  check(message: string): void {
    if (this.requested) throw new Interrupted(message);
  }

  /** Gives signals their usual effect back. */
  close(): void {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, this.#listener);
  }
}
