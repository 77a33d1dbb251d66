import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Contender } from "../harness.js";

/** A Python that has PyTorch, if there is one: $PYTHON, the one on the path, or the system's own. */
function pythonWithTorch(): string | undefined {
  const candidates = [process.env.PYTHON, "python3", "/usr/bin/python3"];
  return candidates.find((python) => python && spawnSync(python, ["-c", "import torch"]).status === 0);
}

/** PyTorch in a process of its own that waits for orders, so that its passes can take turns with ours. */
export class TorchPeer {
  readonly #process: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  private constructor(process: ChildProcess) {
    this.#process = process;
    this.#answers = createInterface({ input: process.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  }

  static start(threads: number): TorchPeer | undefined {
    const python = pythonWithTorch();
    if (!python) return undefined;
    // Passive: its threads must not spin while it is our turn.
    const env = { ...process.env, OMP_NUM_THREADS: String(threads), OMP_WAIT_POLICY: "passive" };
    const script = join(import.meta.dirname, "torch_peer.py");
    return new TorchPeer(spawn(python, [script, String(threads)], { env, stdio: ["pipe", "pipe", "inherit"] }));
  }

  /** One pass of a case of torch_peer.py. */
  contender(name: string, what: string, repeats: number): Contender {
    return {
      name,
      run: async () => {
        this.#process.stdin?.write(`${what} ${repeats}\n`);
        const { value, done } = await this.#answers.next();
        if (done) throw new Error(`the PyTorch process ended at ${what}; its message is above`);
        return Number(value);
      },
    };
  }

  async close(): Promise<void> {
    this.#process.stdin?.end();
    await once(this.#process, "exit");
  }
}
