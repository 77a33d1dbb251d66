import { elementCount } from "../shapes.js";
import { bytesOf } from "./cost.js";
import { measure } from "./measure.js";
import type { BenchSize } from "./operation-cases.js";
import { createInputs } from "./operation-rows.js";
import { predictedMilliseconds } from "./predictions.js";
import { bytesPerParameter, momentNames, optimizerOf, type Setting, storageNames } from "./setting.js";
import { resnet50, totalElements, type Workload, workloadOfSize } from "./shapes.js";
import { type PlannedRow, plannedWork } from "./timing.js";

const optimizers = ["adamw", "sgd", "momentum", "lion"] as const;

/** Every storage of every optimizer. Without moments, their type makes no difference. */
const settings: readonly Setting[] = optimizers.flatMap((optimizer) =>
  storageNames.flatMap((dtype) =>
    momentNames
      .map((moments): Setting => ({ optimizer, dtype, moments }))
      .filter((setting) => setting.moments === "float32" || optimizerOf(setting).moments > 0),
  ),
);

/** The optimizer steps that are measured: a workload in a setting. */
export interface OptimizerStep {
  readonly name: string;
  readonly workload: Workload;
  readonly setting: Setting;
  readonly bytes: number;
}

interface Workloads {
  readonly single: Workload;
  readonly lists: readonly Workload[];
}

function workloads(size: BenchSize): Workloads {
  if (size === "full")
    return {
      single: workloadOfSize("1e8"),
      lists: [{ name: "ResNet-50, 161 tensors", shapes: resnet50() }, workloadOfSize("1000x1e4")],
    };
  const short = resnet50().filter((shape) => elementCount(shape) <= 512);
  return {
    single: workloadOfSize("1e4"),
    lists: [{ name: "ResNet-50, tensors of at most 512 numbers", shapes: short }, workloadOfSize("10x1e3")],
  };
}

/** Returns one large tensor in every storage of every optimizer, and lists of tensors with AdamW. */
export function optimizerSteps(size: BenchSize): OptimizerStep[] {
  const { single, lists } = workloads(size);
  const step = (workload: Workload, setting: Setting): OptimizerStep => ({
    name: `${setting.optimizer}, ${workload.name}, ${storageOf(setting)}`,
    workload,
    setting,
    bytes: totalElements(workload) * bytesPerParameter(setting),
  });
  const ofLists = settings.filter(
    ({ optimizer, dtype, moments }) => optimizer === "adamw" && dtype !== "bfloat16" && moments === "float32",
  );
  return [
    ...settings.map((setting) => step(single, setting)),
    ...lists.flatMap((workload) => ofLists.map((setting) => step(workload, setting))),
  ];
}

function storageOf({ dtype, moments, ...rest }: Setting): string {
  const hasOther = moments === "bfloat16" && optimizerOf({ dtype, moments, ...rest }).moments > 0;
  return hasOther ? `${dtype}, bfloat16 moments` : dtype;
}

/** Plans the measurement of optimizer steps and of gradient norms. */
export function optimizerRows(size: BenchSize): PlannedRow[] {
  const { single, lists } = workloads(size);
  return [
    ...optimizerSteps(size).map(stepRow),
    normRow(single, "float32"),
    normRow(single, "bfloat16"),
    ...lists.map((workload) => normRow(workload, "float32")),
  ];
}

/** Plans the measurement of an optimizer step. For a list of tensors it also gives a row for the replay of the step. */
function stepRow({ name, workload, setting, bytes }: OptimizerStep): PlannedRow {
  const title = { group: "optimizer", name, contender: "stepsize" } as const;
  return {
    title,
    measure: async ({ device, rounds, shouldContinue }) => {
      const foundTorch = { problem: "PyTorch is measured by itself" };
      const bench = { device, torch: undefined, foundTorch, baselines: [], rounds, shouldContinue, note: () => {} };
      const row = await measure(bench, workload, setting);
      if (!row) return [];
      const shared = {
        ...title,
        rounds: row.rounds,
        cost: { bytes, flops: 0 },
        predictedMilliseconds: predictedMilliseconds({ family: "update", bytes, flops: 0 }),
      };
      const { milliseconds, replayedMilliseconds, hostMicroseconds } = row;
      const eager = { ...shared, milliseconds, hostMicroseconds: hostMicroseconds.eager };
      if (workload.shapes.length === 1) return [eager];
      const replayed = { milliseconds: replayedMilliseconds, hostMicroseconds: hostMicroseconds.replayed };
      return [eager, { ...shared, contender: "captured", ...replayed }];
    },
  };
}

/** Plans the measurement of the norm of all gradients. */
function normRow(workload: Workload, dtype: Setting["moments"]): PlannedRow {
  const { name, shapes } = workload;
  const title = { group: "optimizer", name: `gradient norm, ${name}, ${dtype}`, contender: "stepsize" } as const;
  const bytes = shapes.reduce((sum, shape) => sum + bytesOf({ shape, dtype }), 0);
  return plannedWork(title, { family: "gradient norm", bytes, flops: 0 }, (device) => {
    const gradients = createInputs(
      device,
      shapes.map((shape) => ({ shape, dtype })),
    );
    const list = device.native.list();
    list.set(gradients.map(({ handle }) => handle));
    const work = () => {
      for (const result of device.enqueue("gradientNorm", [], {}, [list])) result.dispose();
    };
    return { work, resources: gradients };
  });
}
