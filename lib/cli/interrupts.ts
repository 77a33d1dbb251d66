import { constants } from "node:os";
import { isError } from "../realms.js";
import { exitCode, Interrupted } from "./failure.js";
import { tell } from "./terminal.js";

/**
 * Signals that end a process unless it catches them, and that it can catch: a person's, a closed terminal or connection,
 * a batch system whose time is over. SIGPIPE is ignored by Node; SIGPROF belongs to profilers.
 */
export const endingSignals = [
  "SIGINT",
  "SIGTERM",
  "SIGHUP",
  "SIGQUIT",
  "SIGXCPU",
  "SIGUSR2",
  "SIGALRM",
  "SIGVTALRM",
  "SIGIO",
  "SIGPWR",
  "SIGSTKFLT",
] as const satisfies readonly NodeJS.Signals[];

/** Signals that somebody who does not want to wait sends again. A closed terminal or a used-up time may send others twice. */
const insistent: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGQUIT"];

/**
 * A second signal sooner than this after the first is the same key press: npm passes Ctrl-C on to a program that the
 * terminal has already told.
 */
const sameKeyPress = 250;

/** After an error that nothing caught, work may wait for something that will never come. */
const longestEnd = 600_000;

/**
 * Turns the first signal into a polite request, and the same signal again into the end of the process. An error that
 * nothing caught is such a request too: what can be saved is saved, and then the command fails with it.
 */
export class Interrupts {
  readonly #controller = new AbortController();
  readonly #onRequest: () => void;
  readonly #listeners = new Map<NodeJS.Signals, () => void>();
  readonly #seen = new Map<NodeJS.Signals, number>();
  #stray: Error | undefined;

  /** @param onRequest called once, at the first signal or stray error */
  constructor(onRequest: () => void = () => {}) {
    this.#onRequest = onRequest;
    for (const signal of endingSignals) {
      // Not every system has all of them. Node may have been told to write a report or a heap snapshot at one.
      if (!(signal in constants.signals) || process.listenerCount(signal) > 0) continue;
      const listener = () => this.#receive(signal);
      this.#listeners.set(signal, listener);
      process.on(signal, listener);
    }
    process.on("uncaughtException", this.#fail);
  }

  /** Aborted at the first request. Its reason is the stray error, or an {@link Interrupted} error. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Whether a signal or a stray error came. */
  get requested(): boolean {
    return this.signal.aborted;
  }

  /** @throws Interrupted if a signal came; an error that nothing caught, if one did */
  check(message: string): void {
    this.checkStray();
    if (this.requested) throw new Interrupted(message);
  }

  /** @throws an error that nothing caught, if one did */
  checkStray(): void {
    if (this.#stray) throw this.#stray;
  }

  /** Gives signals their usual effect back. */
  close(): void {
    for (const [signal, listener] of this.#listeners) process.off(signal, listener);
    process.off("uncaughtException", this.#fail);
  }

  #receive(signal: NodeJS.Signals): void {
    const now = performance.now();
    const first = this.#seen.get(signal);
    if (first === undefined) this.#seen.set(signal, now);
    else if (insistent.includes(signal) && now - first > sameKeyPress) process.exit(exitCode.interrupted);
    this.#request(new Interrupted("interrupted"));
  }

  readonly #fail = (thrown: unknown) => {
    // What comes of the first one is not told.
    if (this.#stray) return;
    this.#stray = isError(thrown) ? thrown : new Error(String(thrown));
    setTimeout(() => {
      tell(`error: ${this.#stray?.message}`);
      process.exit(exitCode.failed);
    }, longestEnd).unref();
    this.#request(this.#stray);
  };

  #request(reason: Error): void {
    if (this.requested) return;
    this.#controller.abort(reason);
    this.#onRequest();
  }
}
