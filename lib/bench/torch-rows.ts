// The same work in PyTorch, in a process that is shared by all rows, because it takes seconds to start.
import { StepsizeError } from "../errors.js";
import type { Device } from "../native/index.js";
import { spreadOf } from "./interleave.js";
import { optimizerRequest, torchLacks, torchProblem } from "./measure.js";
import { type BenchSize, operationCases } from "./operation-cases.js";
import { optimizerSteps } from "./optimizer-rows.js";
import type { MeasuredRow, RowTitle, Work } from "./rows.js";
import { passMilliseconds } from "./stopwatch.js";
import type { PlannedRow } from "./timing.js";
import { type FoundTorch, findTorch, TorchPeer, torchPasses } from "./torch.js";
import { stepsPerPass, trainingSubjects, trainingTitle } from "./training-rows.js";

/** The process with PyTorch. It is started at the first use, and again after it ended with an error. */
export class TorchSession {
  #peer: TorchPeer | undefined;
  #found: FoundTorch | undefined;

  /**
   * Runs work with the process. If it fails, the next use starts another process.
   *
   * @throws StepsizeError `unsupported` if there is no PyTorch for the device; `device-failed` if the process ends
   */
  async use<T>(device: Device, work: (peer: TorchPeer) => Promise<T>): Promise<T> {
    this.#found ??= findTorch();
    const problem = torchProblem({ device, foundTorch: this.#found });
    if (problem !== undefined) throw new StepsizeError("unsupported", problem);
    this.#peer ??= TorchPeer.start(Number(device.describe()["threads"] ?? 1), this.#found);
    const peer = this.#peer;
    if (!peer) throw new StepsizeError("unsupported", "PyTorch was not found");
    try {
      return await work(peer);
    } catch (error) {
      this.#peer = undefined;
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#peer?.close();
    this.#peer = undefined;
  }
}

/** Work of PyTorch. `request` describes it for torch_peer.py. */
interface TorchWork {
  readonly title: RowTitle;
  /** Absent for training steps. Their work is counted from the operations of the library. */
  readonly cost?: Work;
  readonly request: (device: Device) => object;
  /** Number of repetitions of a pass. Default: as many as take the time of a pass. */
  readonly repetitions?: number;
  readonly items?: number;
}

/** Plans the measurement of PyTorch's operations, optimizer steps and training steps. */
export function torchRows(size: BenchSize, session: TorchSession): PlannedRow[] {
  const contender = "PyTorch";
  const operations = operationCases(size).flatMap(
    ({ torch, float32Products, group, name, inputs, attributes, bytes, flops }) => {
      if (torch === undefined) return [];
      const request = (device: Device) => ({
        ...{ operation: torch, device: device.name, inputs, attributes },
        ...(float32Products && { float32Products }),
      });
      return [{ title: { group, name, contender }, cost: { bytes, flops }, request } as const];
    },
  );
  const optimizers = optimizerSteps(size)
    .filter(({ setting }) => torchLacks(setting) === undefined)
    .map(({ name, bytes, workload, setting }) => ({
      title: { group: "optimizer", name, contender } as const,
      cost: { bytes, flops: 0 },
      request: (device: Device) => optimizerRequest(device, workload, setting),
    }));
  const trainings = trainingSubjects(size).map((subject) => ({
    title: trainingTitle(subject, contender),
    request: (device: Device) => {
      const { name, sizes } = subject;
      return { training: name, device: device.name, precision: "bf16", compiled: false, sizes };
    },
    repetitions: stepsPerPass[size],
    items: subject.items,
  }));
  return [...operations, ...optimizers, ...trainings].map((work) => torchRow(work, session));
}

function torchRow({ title, cost, request, repetitions, items }: TorchWork, session: TorchSession): PlannedRow {
  return {
    title,
    measure: async ({ device, rounds, shouldContinue }) => {
      const times = device.name === "cpu" ? passMilliseconds.cpu : passMilliseconds.gpu;
      const passes = await session.use(device, async (peer) => {
        const pass = torchPasses(peer, JSON.stringify(request(device)), repetitions ?? { milliseconds: times });
        const done = [];
        while (done.length < rounds && shouldContinue()) done.push(await pass());
        return done;
      });
      const kind = passes[0]?.kind;
      if (passes.length === 0) return [];
      const row: MeasuredRow = {
        ...title,
        milliseconds: spreadOf(passes.map(({ milliseconds }) => milliseconds)),
        rounds: passes.length,
        ...(cost && { cost }),
        ...(items !== undefined && { items }),
        ...(kind !== undefined && { kind }),
      };
      return [row];
    },
  };
}
