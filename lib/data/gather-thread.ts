import { Worker } from "node:worker_threads";
import { StepsizeError } from "../errors.js";
import { messageOf } from "../realms.js";
import type { GatherPlan, Place, Slot } from "./gather.js";

/** What goes to the thread; the answer is the id, once the slot is filled. */
export interface GatherRequest {
  readonly id: number;
  readonly place: Place;
  readonly slot: Slot;
}

interface Pending {
  resolve(): void;
  reject(error: Error): void;
}

/** A thread that has been asked nothing for this long is ended, and started again when it is needed. */
export const IDLE_MS = 2_000;

/**
 * Gathers batches on a thread of its own. The thread starts with the first request, keeps the process alive only
 * while requests are open, and ends when it was idle for a while: a loop that nobody closes leaks nothing.
 */
export class GatherThread {
  readonly #plan: GatherPlan;
  readonly #script: URL;
  readonly #pending = new Map<number, Pending>();
  #worker: Worker | undefined;
  #idle: NodeJS.Timeout | undefined;
  /** A fault that nobody was waiting for; the next request is told. */
  #failure: Error | undefined;
  #lastId = 0;

  constructor(plan: GatherPlan, script = new URL("./gather-worker.js", import.meta.url)) {
    this.#plan = plan;
    this.#script = script;
  }

  /** Whether the thread is there now. */
  get running(): boolean {
    return this.#worker !== undefined;
  }

  /** Resolves when the slot is filled. Rejects with `device-failed` when the thread fails or has failed. */
  gather(place: Place, slot: Slot): Promise<void> {
    const failure = this.#failure;
    if (failure !== undefined) {
      this.#failure = undefined;
      return Promise.reject(failure);
    }
    clearTimeout(this.#idle);
    this.#worker ??= this.#start();
    const worker = this.#worker;
    if (this.#pending.size === 0) worker.ref();
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId;
      this.#pending.set(id, { resolve, reject });
      worker.postMessage({ id, place, slot } satisfies GatherRequest);
    });
  }

  /** Ends the thread and rejects what is still open with `reason`. */
  async close(reason: Error): Promise<void> {
    clearTimeout(this.#idle);
    const worker = this.#worker;
    this.#worker = undefined;
    this.#rejectAll(reason);
    await worker?.terminate();
  }

  #start(): Worker {
    // No execArgv: flags of the main program, such as --input-type, need not suit a worker.
    const worker = new Worker(this.#script, { workerData: this.#plan, execArgv: [], name: "stepsize batches" });
    worker.on("message", (id: number) => {
      const pending = this.#pending.get(id);
      this.#pending.delete(id);
      if (this.#pending.size === 0) this.#rest(worker);
      pending?.resolve();
    });
    const fail = (message: string, cause?: unknown) => {
      // A worker that was let go may still report its end.
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      clearTimeout(this.#idle);
      const error = new StepsizeError("device-failed", `the thread that gathers batches failed: ${message}`, { cause });
      if (this.#pending.size === 0) this.#failure = error;
      this.#rejectAll(error);
    };
    worker.on("error", (error: unknown) => fail(messageOf(error), error));
    worker.on("messageerror", (error) => fail(error.message, error));
    worker.on("exit", (code) => fail(`it ended with code ${code}`));
    return worker;
  }

  #rest(worker: Worker): void {
    worker.unref();
    this.#idle = setTimeout(() => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      void worker.terminate();
    }, IDLE_MS).unref();
  }

  #rejectAll(error: Error): void {
    const open = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of open) reject(error);
  }
}
