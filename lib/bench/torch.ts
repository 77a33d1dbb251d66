import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { StepsizeError } from "../errors.js";
import { packageRoot } from "../package-root.js";
import { finite, object, Place, text } from "../schema.js";
import type { Pass } from "./stopwatch.js";

const script = join(packageRoot, "bench", "peers", "torch_peer.py");

const keptCharacters = 4096;

/** A Python interpreter with PyTorch, or the reason why there is none. */
export type FoundTorch =
  | { readonly python: string; readonly version: string; readonly hasGpu: boolean }
  | { readonly problem: string };

/** Looks for a Python interpreter with PyTorch: `$PYTHON`, `python3` on the path, then `/usr/bin/python3`. */
export function findTorch(): FoundTorch {
  if (!existsSync(script)) return { problem: `${script} does not exist; it compares with PyTorch` };
  const candidates = new Set([process.env["PYTHON"] || "python3", "python3", "/usr/bin/python3"]);
  const program = "import torch; print(torch.__version__, torch.cuda.is_available())";
  for (const python of candidates) {
    const { status, stdout } = spawnSync(python, ["-c", program], { encoding: "utf8" });
    const [version, gpu] = (stdout ?? "").trim().split(" ");
    if (status === 0 && version) return { python, version, hasGpu: gpu === "True" };
  }
  return { problem: `PyTorch is not installed for ${[...candidates].join(", ")}` };
}

/** The times of a pass of PyTorch, with the implementation that it selected. */
export interface TorchPass extends Pass {
  readonly kind: string;
}

const torchAnswer = object<TorchPass>({ milliseconds: finite, wall: finite, kind: text });

/**
 * Returns a function that measures a pass.
 *
 * @param request the case as JSON
 * @param repetitions their number, or the time of a pass, from which the first call determines the number
 */
export function torchPasses(
  peer: TorchPeer,
  request: string,
  repetitions: number | { readonly milliseconds: number },
): () => Promise<TorchPass> {
  const ask = async (times: number) => torchAnswer(await peer.ask(request, times), new Place("the answer of PyTorch"));
  let count = typeof repetitions === "number" ? repetitions : 0;
  return async () => {
    if (typeof repetitions !== "number" && count === 0) {
      // The first repetition includes one-time initialization.
      await ask(1);
      const { milliseconds } = await ask(1);
      count = Math.min(1000, Math.max(1, Math.round(repetitions.milliseconds / milliseconds)));
    }
    return ask(count);
  };
}

/** PyTorch in another process, which runs one pass per request, in turns with the other contenders. */
export class TorchPeer {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;
  readonly #ended: Promise<void>;
  /** The last characters of its standard error. After a failure, they have the text of the exception. */
  #errorOutput = "";

  private constructor(process: ChildProcessWithoutNullStreams) {
    this.#process = process;
    // "close" comes after "exit", when all output has arrived.
    this.#ended = new Promise((resolve) => process.once("close", () => resolve()));
    process.stderr.setEncoding("utf8").on("data", (piece: string) => {
      this.#errorOutput = (this.#errorOutput + piece).slice(-keptCharacters);
    });
    // If the process has ended, the next request reports it.
    process.stdin.on("error", () => {});
    this.#answers = createInterface({ input: process.stdout })[Symbol.asyncIterator]();
  }

  /**
   * Starts the process.
   * @returns `undefined` if there is no PyTorch
   */
  static start(threads: number, found: FoundTorch = findTorch()): TorchPeer | undefined {
    if ("problem" in found) return undefined;
    // With a passive wait policy, its threads do not spin while other contenders run.
    const env = { ...process.env, OMP_NUM_THREADS: String(threads), OMP_WAIT_POLICY: "passive" };
    // It has its own process group, so that Ctrl-C does not reach it. It ends when its input is closed.
    return new TorchPeer(
      spawn(found.python, [script, String(threads)], { env, stdio: ["pipe", "pipe", "pipe"], detached: true }),
    );
  }

  /**
   * Runs one pass and returns the parsed answer.
   *
   * @param request the case as JSON
   * @throws StepsizeError `device-failed` if the process has ended
   */
  async ask(request: string, repetitions: number): Promise<unknown> {
    this.#process.stdin.write(`${request} ${repetitions}\n`);
    const { value, done } = await this.#answers.next();
    if (done) {
      await this.#ended;
      throw new StepsizeError("device-failed", `the PyTorch process ended at ${request}:\n${this.#errorOutput.trim()}`);
    }
    return JSON.parse(value);
  }

  async close(): Promise<void> {
    this.#process.stdin.end();
    await this.#ended;
  }
}
