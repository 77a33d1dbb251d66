import { constants } from "node:os";
import { isError } from "../realms.js";
import { exitCode, Interrupted } from "./failure.js";
import { tell } from "./output/terminal.js";

/**
 * Catchable signals that end a process by default. Users, closed terminals and batch systems send them. SIGPIPE is not
 * among them, because Node ignores it, and neither is SIGPROF, which profilers use.
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

/** Signals that end the process at once if they come twice. Other signals may be sent twice automatically. */
const insistent: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGQUIT"];

/**
 * Time in milliseconds after a signal in which the same signal counts as the same key press. On Ctrl-C, the terminal
 * sends SIGINT to the program, and npm sends it again.
 */
const sameKeyPress = 250;

/** Time in milliseconds until the process exits after an uncaught error, which may have left work that never finishes. */
const maxMillisecondsToEnd = 600_000;

/**
 * Handles signals and uncaught errors of a command. The first signal aborts {@link signal}, so that the command can save
 * and stop. The same signal again ends the process. An uncaught error also aborts {@link signal}; the command saves and
 * then fails with this error.
 */
export class Interrupts {
  readonly #controller = new AbortController();
  readonly #onRequest: () => void;
  readonly #listeners = new Map<NodeJS.Signals, () => void>();
  readonly #seen = new Map<NodeJS.Signals, number>();
  #stray: Error | undefined;

  /** @param onRequest called once, at the first signal or uncaught error */
  constructor(onRequest: () => void = () => {}) {
    this.#onRequest = onRequest;
    for (const signal of endingSignals) {
      // Some systems lack some of the signals. Node options can install a listener that writes a report or a snapshot.
      if (!(signal in constants.signals) || process.listenerCount(signal) > 0) continue;
      const listener = () => this.#receive(signal);
      this.#listeners.set(signal, listener);
      process.on(signal, listener);
    }
    process.on("uncaughtException", this.#fail);
  }

  /** Aborted at the first signal or uncaught error. The reason is that error, or an {@link Interrupted} error. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Whether a signal or an uncaught error has come. */
  get requested(): boolean {
    return this.signal.aborted;
  }

  /**
   * Throws if a signal or an uncaught error has come.
   * @throws Interrupted with this message after a signal; the uncaught error, if there was one
   */
  check(message: string): void {
    this.checkStray();
    if (this.requested) throw new Interrupted(message);
  }

  /** Throws the uncaught error, if there was one. */
  checkStray(): void {
    if (this.#stray) throw this.#stray;
  }

  /** Removes the handlers. Signals have their default effect again. */
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
    // Only the first error is kept. Later ones may be its consequences.
    if (this.#stray) return;
    this.#stray = isError(thrown) ? thrown : new Error(String(thrown));
    setTimeout(() => {
      tell(`error: ${this.#stray?.message}`);
      process.exit(exitCode.failed);
    }, maxMillisecondsToEnd).unref();
    this.#request(this.#stray);
  };

  #request(reason: Error): void {
    if (this.requested) return;
    this.#controller.abort(reason);
    this.#onRequest();
  }
}
