import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { StepsizeError } from "../errors.js";

const script = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "bench", "peers", "torch_peer.py");

const keptCharacters = 4096;

/** A Python that has PyTorch, or why there is none. */
export type FoundTorch =
  | { readonly python: string; readonly version: string; readonly hasGpu: boolean }
  | { readonly problem: string };

/** Looks for a Python that has PyTorch: $PYTHON, the one on the path, or the system's own. */
export function findTorch(): FoundTorch {
  if (!existsSync(script)) return { problem: "bench/peers/torch_peer.py is part of the repository alone" };
  const candidates = [...new Set([process.env["PYTHON"], "python3", "/usr/bin/python3"])].filter((one) => one);
  const question = "import torch; print(torch.__version__, torch.cuda.is_available())";
  for (const python of candidates as string[]) {
    const { status, stdout } = spawnSync(python, ["-c", question], { encoding: "utf8" });
    const [version, gpu] = (stdout ?? "").trim().split(" ");
    if (status === 0 && version) return { python, version, hasGpu: gpu === "True" };
  }
  return { problem: `PyTorch is not installed for ${candidates.join(", ")}` };
}

/** PyTorch in a process of its own that waits for orders, so that its passes can take turns with ours. */
export class TorchPeer {
  readonly #process: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #ended: Promise<void>;
  /** The end of what it wrote to its standard error: where it fails, the exception's text is the last of it. */
  #said = "";

  private constructor(process: ChildProcess) {
    this.#process = process;
    // Closed is later than exited: by then all it said has come.
    this.#ended = new Promise((resolve) => process.once("close", () => resolve()));
    process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#said = (this.#said + text).slice(-keptCharacters);
    });
    // Somebody may end it; what it is asked then tells.
    process.stdin?.on("error", () => {});
    this.#answers = createInterface({ input: process.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  }

  /** @returns `undefined` where there is no PyTorch */
  static start(threads: number, found: FoundTorch = findTorch()): TorchPeer | undefined {
    if ("problem" in found) return undefined;
    // Passive: its threads must not spin while it is our turn.
    const env = { ...process.env, OMP_NUM_THREADS: String(threads), OMP_WAIT_POLICY: "passive" };
    // In a group of its own: a Ctrl-C is for us, and the end of our input tells it to go.
    return new TorchPeer(
      spawn(found.python, [script, String(threads)], { env, stdio: ["pipe", "pipe", "pipe"], detached: true }),
    );
  }

  /** Runs one pass of a case; its answer, as JSON. */
  async ask(what: string, repetitions: number): Promise<unknown> {
    this.#process.stdin?.write(`${what} ${repetitions}\n`);
    const { value, done } = await this.#answers.next();
    if (done) {
      await this.#ended;
      throw new StepsizeError("device-failed", `the PyTorch process ended at ${what}:\n${this.#said.trim()}`);
    }
    return JSON.parse(value);
  }

  async close(): Promise<void> {
    this.#process.stdin?.end();
    await this.#ended;
  }
}
