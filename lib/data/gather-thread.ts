import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { StepsizeError } from "../errors.js";
import { packageRoot } from "../package-root.js";
import { messageOf } from "../realms.js";
import type { GatherPlan, Place, Slot } from "./gather.js";

/** A request to the thread. It answers with the id when the slot is filled. */
export interface GatherRequest {
  readonly id: number;
  readonly place: Place;
  readonly slot: Slot;
}

interface Pending {
  resolve(): void;
  reject(error: Error): void;
}

/** Time in milliseconds without requests after which the thread is ended. The next request starts it again. */
export const IDLE_MS = 2_000;

/** The file has the same place in a clone and in the published package. */
const workerScript = pathToFileURL(join(packageRoot, "dist", "data", "gather-worker.js"));

/**
 * Gathers batches on another thread. The thread starts with the first request and keeps the process alive only while
 * requests are pending. It ends when it has been idle for a while, so a loop that is never closed does not leak it.
 */
export class GatherThread {
  readonly #plan: GatherPlan;
  readonly #script: URL;
  readonly #pending = new Map<number, Pending>();
  #worker: Worker | undefined;
  #idle: NodeJS.Timeout | undefined;
  /** An error that occurred without a pending request. The next request rejects with it. */
  #failure: Error | undefined;
  #lastId = 0;

  constructor(plan: GatherPlan, script = workerScript) {
    this.#plan = plan;
    this.#script = script;
  }

  /** Whether the thread is running. */
  get running(): boolean {
    return this.#worker !== undefined;
  }

  /**
   * Gathers a batch into a slot. Resolves when the slot is filled.
   *
   * @throws StepsizeError `device-failed` if the thread fails or has failed; the reason of {@link close}
   */
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

  /** Ends the thread and rejects pending requests with `reason`. */
  async close(reason: Error): Promise<void> {
    clearTimeout(this.#idle);
    const worker = this.#worker;
    this.#worker = undefined;
    this.#rejectAll(reason);
    await worker?.terminate();
  }

  #start(): Worker {
    // `execArgv` is empty, because flags of the main program, such as --input-type, may not be valid for a worker.
    const worker = new Worker(this.#script, { workerData: this.#plan, execArgv: [], name: "stepsize batches" });
    worker.on("message", (id: number) => {
      const pending = this.#pending.get(id);
      this.#pending.delete(id);
      if (this.#pending.size === 0) this.#rest(worker);
      pending?.resolve();
    });
    const fail = (message: string, cause?: unknown) => {
      // A terminated worker may still report its end.
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
