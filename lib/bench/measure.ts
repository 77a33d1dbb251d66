import { StepsizeError } from "../errors.js";
import { valueAt } from "../lookup.js";
import type { Device } from "../native/index.js";
import { type Contender, interleave, ratioOf, type Spread, spreadOf } from "./interleave.js";
import { bytesPerParameter, type MeasuredOptimizerName, optimizerOf, parameterType, type Setting } from "./setting.js";
import { totalElements, type Workload } from "./shapes.js";
import { type Pass, passMilliseconds, Stopwatch } from "./stopwatch.js";
import { bareCopy, countRecords, loop, Model, type Subject } from "./subjects.js";
import { type FoundTorch, type TorchPass, type TorchPeer, torchPasses } from "./torch.js";

/** The baselines that the update can be compared with. */
export const baselineNames = ["loop", "copy", "per-tensor", "torch"] as const;
export type BaselineName = (typeof baselineNames)[number];

/** The measurements of a baseline. */
export interface BaselineResult {
  readonly milliseconds: Spread;
  /** The baseline's time over the update's, median over the rounds: above 1 the update is faster. */
  readonly ratio: number;
  /** Number of enqueued records; `null` for PyTorch. */
  readonly launches: number | null;
  /** The implementation that PyTorch selected; only for PyTorch. */
  readonly kind?: string;
}

/** The measurements of one workload in one setting. */
export interface Row {
  readonly name: string;
  readonly tensors: number;
  readonly elements: number;
  readonly optimizer: MeasuredOptimizerName;
  readonly dtype: Setting["dtype"];
  readonly moments: Setting["moments"];
  /** Number of CPU threads; `null` on a GPU. */
  readonly threads: number | null;
  readonly rounds: number;
  /** Bytes that one step moves. */
  readonly bytes: number;
  /** Time of one eager step, on the device's clock. */
  readonly milliseconds: Spread;
  /** Time of one replay of a captured step, on the device's clock. */
  readonly replayedMilliseconds: Spread;
  /** Wall time of one of many consecutive eager steps, including the synchronization at their end. */
  readonly wallMilliseconds: Spread;
  readonly gigabytesPerSecond: number;
  /** Number of records that one step enqueues. */
  readonly launches: number;
  /** Time of the host per step, for an eager step and for a replay of a captured one. */
  readonly hostMicroseconds: { readonly eager: number; readonly replayed: number };
  readonly baselines: Partial<Record<BaselineName, BaselineResult>>;
}

/** Options of {@link measure}, shared by all measurements on a device. */
export interface Bench {
  readonly device: Device;
  readonly torch: TorchPeer | undefined;
  readonly foundTorch: FoundTorch;
  /** Baselines to measure; `undefined` for all that are available. */
  readonly baselines: readonly BaselineName[] | undefined;
  readonly rounds: number;
  /** Called before every pass with the number of the round. If it returns false, the complete rounds are the result. */
  readonly shouldContinue: (round: number) => boolean;
  /** Called with the reason if a baseline is left out. */
  readonly note: (text: string) => void;
}

/**
 * Measures one workload in one setting, in turns with its baselines.
 *
 * @returns `undefined` if it was stopped before the first round was complete
 * @throws StepsizeError `invalid-argument` if a requested baseline is not available, `out-of-memory` or `device-failed`
 */
export async function measure(bench: Bench, workload: Workload, setting: Setting): Promise<Row | undefined> {
  const { device } = bench;
  const chosen = chooseBaselines(bench, workload, setting);
  const resources: { dispose(): void }[] = [];
  const keep = <T extends { dispose(): void }>(resource: T): T => {
    resources.push(resource);
    return resource;
  };
  try {
    const stopwatch = keep(new Stopwatch(device));
    const model = keep(new Model(device, workload, setting));
    const fused = keep(model.fused());
    // The first step creates the optimizer state, which must exist before the capture.
    fused.work();
    const captured = keep(device.capture(fused.work));
    const replay = () => captured.replay();
    const subjects: Partial<Record<BaselineName, () => Subject>> = {
      loop: () => loop(device, workload, setting),
      copy: () => bareCopy(device, workload, setting),
      "per-tensor": () => model.perTensor(),
    };
    const launches: Partial<Record<BaselineName, number>> = {};
    const contenders: Contender<Pass & Partial<TorchPass>>[] = [
      { name: "stepsize", run: stopwatch.passOf(fused.work) },
      { name: "replayed", run: stopwatch.passOf(replay) },
    ];
    for (const name of chosen) {
      const make = subjects[name];
      if (!make) {
        if (!bench.torch) throw new StepsizeError("unsupported", "the process with PyTorch was not started");
        const request = JSON.stringify(optimizerRequest(device, workload, setting));
        contenders.push({ name, run: torchPasses(bench.torch, request, { milliseconds: passMilliseconds.cpu }) });
        continue;
      }
      const subject = keep(make());
      launches[name] = countRecords(device, subject);
      contenders.push({ name, run: stopwatch.passOf(subject.work) });
    }
    const idle = device.name === "cpu" ? undefined : 0;
    const passes = await interleave(contenders, bench.rounds, bench.shouldContinue, idle);
    const ours = valueAt(passes, "stepsize");
    if (ours.length === 0) return undefined;
    const timesOf = (list: readonly Pass[]) => list.map(({ milliseconds }) => milliseconds);
    const results = chosen.map((name): [BaselineName, BaselineResult] => {
      const passesOfBaseline = valueAt(passes, name);
      const [times, kind] = [timesOf(passesOfBaseline), passesOfBaseline[0]?.kind];
      const ratio = ratioOf(times, timesOf(ours));
      return [name, { milliseconds: spreadOf(times), ratio, launches: launches[name] ?? null, ...(kind && { kind }) }];
    });
    const milliseconds = spreadOf(timesOf(ours));
    const bytes = totalElements(workload) * bytesPerParameter(setting);
    return {
      name: workload.name,
      tensors: workload.shapes.length,
      elements: totalElements(workload),
      ...setting,
      threads: Number(device.describe()["threads"]) || null,
      rounds: ours.length,
      bytes,
      milliseconds,
      replayedMilliseconds: spreadOf(timesOf(valueAt(passes, "replayed"))),
      wallMilliseconds: spreadOf(ours.map(({ wall }) => wall)),
      gigabytesPerSecond: bytes / milliseconds.median / 1e6,
      launches: countRecords(device, fused),
      hostMicroseconds: {
        eager: await stopwatch.hostMicroseconds(fused.work),
        replayed: await stopwatch.hostMicroseconds(replay),
      },
      baselines: Object.fromEntries(results),
    };
  } finally {
    for (const resource of resources.reverse()) resource.dispose();
    // The tensors of the next row have other sizes, so cached memory would not be reused.
    device.trim();
  }
}

function chooseBaselines(bench: Bench, workload: Workload, setting: Setting): BaselineName[] {
  return (bench.baselines ?? baselineNames).filter((name) => {
    const problem = problemOf(name, bench, setting);
    if (problem === undefined) return bench.baselines !== undefined || name !== "per-tensor" || !hasOneTensor(workload);
    if (bench.baselines)
      throw new StepsizeError(
        "invalid-argument",
        `--baseline: expected an available baseline, got ${name}: ${problem}`,
      );
    bench.note(`without ${name}: ${problem}`);
    return false;
  });
}

/** Whether there is only one tensor. Per-tensor steps are then the same as the fused step. */
const hasOneTensor = ({ shapes }: Workload) => shapes.length === 1;

/** Returns the reason why a baseline cannot be measured; `undefined` if it can. */
export function problemOf(
  name: BaselineName,
  { device, foundTorch }: Pick<Bench, "device" | "foundTorch">,
  setting: Setting,
): string | undefined {
  const gpu = device.name !== "cpu";
  if (name === "copy" && !gpu) return "on a CPU, the copy uses one thread; the loop uses all";
  if (name !== "torch") return undefined;
  return torchProblem({ device, foundTorch }) ?? torchLacks(setting);
}

/** Returns the reason why PyTorch cannot be measured on a device; `undefined` if it can. */
export function torchProblem({ device, foundTorch }: Pick<Bench, "device" | "foundTorch">): string | undefined {
  if (/^cuda:(emulated|ptx)$/.test(device.name)) return "PyTorch does not support the emulated GPU";
  if ("problem" in foundTorch) return foundTorch.problem;
  if (device.name !== "cpu" && !foundTorch.hasGpu) return `PyTorch ${foundTorch.version} finds no GPU`;
  return undefined;
}

/** Returns what of a setting PyTorch does not have; `undefined` if it has everything. */
export function torchLacks(setting: Setting): string | undefined {
  if (!optimizerOf(setting).torch) return `PyTorch has no ${setting.optimizer}`;
  const moments = optimizerOf(setting).moments > 0;
  if (setting.dtype === "bfloat16-master") return "PyTorch has no master weights of bfloat16 parameters";
  if (moments && setting.moments !== setting.dtype) return "PyTorch stores moments in the type of the parameters";
  return undefined;
}

/** Returns the description of PyTorch's optimizer over the same shapes, for torch_peer.py. */
export function optimizerRequest(device: Device, { shapes }: Workload, setting: Setting): object {
  const { torch } = optimizerOf(setting);
  return {
    optimizer: torch?.name,
    options: torch?.options,
    dtype: parameterType(setting),
    device: device.name,
    shapes,
  };
}
