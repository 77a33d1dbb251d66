import { StepsizeError } from "../errors.js";
import type { Device } from "../native/index.js";
import { type Contender, interleave, ratioOf, type Spread, spreadOf } from "./interleave.js";
import { bytesPerParameter, kindOf, type OptimizerName, parameterType, type Setting } from "./setting.js";
import { type Shape, totalElements, type Workload } from "./shapes.js";
import { type Pass, Stopwatch } from "./stopwatch.js";
import { bareCopy, countRecords, loop, Model, type Subject } from "./subjects.js";
import type { FoundTorch, TorchPeer } from "./torch.js";

/** What an update is compared with. */
export const baselineNames = ["loop", "copy", "per-tensor", "torch"] as const;
export type BaselineName = (typeof baselineNames)[number];

/** What a baseline took, beside the update. */
export interface BaselineResult {
  readonly milliseconds: Spread;
  /** The baseline's time over the update's, median over the rounds: above 1 the update is faster. */
  readonly ratio: number;
  /** Records enqueued; `null` where it is no work of ours. */
  readonly launches: number | null;
  /** Which of its implementations PyTorch took. */
  readonly kind?: string;
}

/** One measurement. */
export interface Row {
  readonly name: string;
  readonly tensors: number;
  readonly elements: number;
  readonly optimizer: OptimizerName;
  readonly dtype: Setting["dtype"];
  readonly moments: Setting["moments"];
  /** `null` on a GPU. */
  readonly threads: number | null;
  readonly rounds: number;
  /** Moved by one step. */
  readonly bytes: number;
  /** One step on the device's clock, each enqueued by a call of `step()`. */
  readonly milliseconds: Spread;
  /** The same of a captured step that is replayed, where the host has next to nothing to do. */
  readonly replayedMilliseconds: Spread;
  /** One step of many in a row, until the host knows of their end. */
  readonly wallMilliseconds: Spread;
  readonly gigabytesPerSecond: number;
  /** Records that one step enqueues. */
  readonly launches: number;
  /** What a step costs the host: by a call of `step()`, and by a replay of a captured one. */
  readonly hostMicroseconds: { readonly eager: number; readonly replayed: number };
  readonly baselines: Partial<Record<BaselineName, BaselineResult>>;
}

/** What all measurements of a device share. */
export interface Bench {
  readonly device: Device;
  readonly torch: TorchPeer | undefined;
  readonly foundTorch: FoundTorch;
  /** Undefined: all that are at hand. */
  readonly baselines: readonly BaselineName[] | undefined;
  readonly rounds: number;
  /** Told of every pass; where it says no, what was measured so far is the result. */
  readonly goesOn: (round: number) => boolean;
  /** Told why a baseline is left out. */
  readonly note: (text: string) => void;
}

/**
 * Measures one workload in one setting against its baselines, in turns.
 *
 * @returns `undefined` where it was stopped before the first round was complete
 * @throws StepsizeError `invalid-argument` where a baseline was asked for that is not at hand
 */
export async function measure(bench: Bench, workload: Workload, setting: Setting): Promise<Row | undefined> {
  const { device } = bench;
  const chosen = chooseBaselines(bench, workload, setting);
  const own: { dispose(): void }[] = [];
  const keep = <T extends { dispose(): void }>(one: T): T => {
    own.push(one);
    return one;
  };
  try {
    const stopwatch = keep(new Stopwatch(device));
    const model = keep(new Model(device, workload, setting));
    const fused = keep(model.fused());
    // The first step makes what the optimizer keeps, which a captured one must find.
    fused.work();
    const captured = keep(device.capture(fused.work));
    const replay = () => captured.replay();
    const subjects: Partial<Record<BaselineName, () => Subject>> = {
      loop: () => loop(device, workload, setting),
      copy: () => bareCopy(device, workload, setting),
      "per-tensor": () => model.perTensor(),
    };
    const launches: Partial<Record<BaselineName, number>> = {};
    const contenders: Contender<Pass & { kind?: string }>[] = [
      { name: "stepsize", run: stopwatch.passOf(fused.work) },
      { name: "replayed", run: stopwatch.passOf(replay) },
    ];
    for (const name of chosen) {
      const make = subjects[name];
      if (!make) {
        contenders.push({ name, run: torchPass(bench, workload, setting) });
        continue;
      }
      const subject = keep(make());
      launches[name] = countRecords(device, subject);
      contenders.push({ name, run: stopwatch.passOf(subject.work) });
    }
    const passes = await interleave(contenders, bench.rounds, bench.goesOn);
    const ours = passes.get("stepsize") as Pass[];
    if (ours.length === 0) return undefined;
    const timesOf = (list: readonly Pass[]) => list.map(({ milliseconds }) => milliseconds);
    const results = chosen.map((name): [BaselineName, BaselineResult] => {
      const list = passes.get(name) as (Pass & { kind?: string })[];
      const [times, kind] = [timesOf(list), list[0]?.kind];
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
      replayedMilliseconds: spreadOf(timesOf(passes.get("replayed") as Pass[])),
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
    for (const one of own.reverse()) one.dispose();
    // The next row's tensors are of other sizes.
    device.trim();
  }
}

function chooseBaselines(bench: Bench, workload: Workload, setting: Setting): BaselineName[] {
  return (bench.baselines ?? baselineNames).filter((name) => {
    const problem = whyNot(name, bench, setting);
    if (problem === undefined) return bench.baselines !== undefined || name !== "per-tensor" || !isOne(workload);
    if (bench.baselines) throw new StepsizeError("invalid-argument", `--baseline: there is no ${name}: ${problem}`);
    bench.note(`without ${name}: ${problem}`);
    return false;
  });
}

/** One tensor by itself is what per-tensor would measure. */
const isOne = ({ shapes }: Workload) => shapes.length === 1;

/** Why a baseline cannot be measured here. */
export function whyNot(
  name: BaselineName,
  { device, foundTorch }: Pick<Bench, "device" | "foundTorch">,
  setting: Setting,
): string | undefined {
  const gpu = device.name !== "cpu";
  if (name === "copy" && !gpu) return "on a CPU one thread copies; the loop shows what all can do";
  if (name !== "torch") return undefined;
  if (device.name === "cuda:emulated") return "PyTorch does not know the emulated GPU";
  if ("problem" in foundTorch) return foundTorch.problem;
  if (gpu && !foundTorch.hasGpu) return `PyTorch ${foundTorch.version} finds no GPU`;
  if (!kindOf(setting).torch) return `PyTorch has no ${setting.optimizer}`;
  const moments = kindOf(setting).moments > 0;
  if (setting.dtype === "bfloat16-master") return "PyTorch has no masters of bfloat16 parameters";
  if (moments && setting.moments !== setting.dtype) return "PyTorch keeps moments in the parameters' type";
  return undefined;
}

/** Passes of PyTorch's optimizer over the same shapes. */
function torchPass({ device, torch }: Bench, { shapes }: Workload, setting: Setting) {
  const { name, options } = kindOf(setting).torch as { name: string; options: object };
  const what = JSON.stringify({
    optimizer: name,
    options,
    dtype: parameterType(setting),
    device: device.name,
    shapes: shapes as readonly Shape[],
  });
  let repetitions = 0;
  return async (): Promise<Pass & { kind: string }> => {
    const ask = async (times: number) => (await (torch as TorchPeer).ask(what, times)) as Pass & { kind: string };
    if (repetitions === 0) {
      await ask(1);
      const { milliseconds } = await ask(1);
      repetitions = Math.min(1000, Math.max(1, Math.round(120 / milliseconds)));
    }
    return ask(repetitions);
  };
}
