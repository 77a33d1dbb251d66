// Runs that were started in PyTorch by test/golden/round_trip.py, and the same models and steps in stepsize.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as models from "#lib/models/index.js";
import type { Device } from "#lib/native/index.js";
import { crossEntropy, type Module } from "#lib/nn/index.js";
import { Adam, AdamW, type LearningRate, type Optimizer, SGD } from "#lib/optim/index.js";
import { backward, type Tensor, tensor, tidy } from "#lib/tensor/index.js";
import { labelsOf, numbers } from "../../support/numbers.js";
import { readStored, type StoredBytes } from "./read-stored.js";
import { writeStored } from "./stored.js";

interface TorchRun {
  readonly model: "mlp" | "resnet" | "resnet20" | "olmo";
  readonly optimizer: "SGD" | "Adam" | "AdamW";
  readonly options: {
    readonly lr: number;
    readonly momentum?: number;
    readonly nesterov?: boolean;
    readonly betas?: readonly [number, number];
    readonly weight_decay?: number;
    readonly amsgrad?: boolean;
  };
  /** Losses of the steps after the stop, in float64. */
  readonly losses: readonly number[];
  /** Weights after the last step, by PyTorch's names and in its order. */
  readonly weights: Readonly<Record<string, readonly number[]>>;
}

/** From PyTorch 2.6: see test/golden/round_trip.py. */
export const golden = JSON.parse(readFileSync(new URL("../../golden/round_trip.json", import.meta.url), "utf8")) as {
  /** Number of steps made in PyTorch. */
  readonly before: number;
  readonly runs: Readonly<Record<string, TorchRun>>;
};

const { stored } = await readStored(fileURLToPath(new URL("../../golden/round_trip.safetensors", import.meta.url)));

/** The tensors that PyTorch saved for a run, by PyTorch's names. */
export function saved(run: string, part: "weights" | "state"): Map<string, StoredBytes> {
  const prefix = `${run}/${part}/`;
  return new Map(
    [...stored].filter(([name]) => name.startsWith(prefix)).map(([name, one]) => [name.slice(prefix.length), one]),
  );
}

/** Writes the two files that PyTorch would write, and returns their paths. */
export function writeFiles(run: string, folder: string): { weights: string; state: string } {
  const write = (part: "weights" | "state") => {
    const tensors = [...saved(run, part)].map(([name, { bytes, ...one }]) => [name, { ...one, data: bytes }] as const);
    return writeStored(join(folder, `${run}.${part}.safetensors`), new Map(tensors));
  };
  return { weights: write("weights"), state: write("state") };
}

const build: Record<TorchRun["model"], (device: Device) => Module> = {
  mlp: (device) => models.mlp({ inputs: 10, hidden: [7], classes: 4, device }),
  resnet: (device) => models.resnet({ depth: 8, width: 2, classes: 4, device }),
  resnet20: (device) => models.resnet({ depth: 20, width: 2, classes: 4, device }),
  olmo: (device) => models.olmo({ vocabulary: 17, context: 8, width: 8, layers: 2, heads: 2, hidden: 12, device }),
};

/** The model and optimizer of a run, untrained. */
export function make(run: string, device: Device): { model: Module; optimizer: Optimizer<{ lr: LearningRate }> } {
  const { model: kind, optimizer: rule, options } = golden.runs[run]!;
  const model = build[kind](device);
  const { weight_decay: weightDecay, ...same } = options;
  const given = { ...same, ...(weightDecay !== undefined && { weightDecay }) };
  return { model, optimizer: new { SGD, Adam, AdamW }[rule](model.parameters(), given) as never };
}

/** The loss of a step. Images are [N, height, width, channels]; the script permutes the same numbers. */
function lossOf(run: string, model: Module, device: Device, step: number): Tensor {
  const kind = golden.runs[run]!.model;
  if (kind === "olmo") {
    const tokens = [...labelsOf(4 * 9, 1000 + (step % 4), 17)];
    const windows = (from: number) =>
      tensor(device, Int32Array.from([0, 9, 18, 27].flatMap((i) => tokens.slice(i + from, i + from + 8))), [4, 8]);
    return crossEntropy(model.forward(windows(0)), windows(1));
  }
  const shape = kind === "mlp" ? [8, 10] : [8, 6, 6, 3];
  const inputs = tensor(
    device,
    numbers(
      shape.reduce((a, b) => a * b, 1),
      1000 + (step % 4),
    ),
    shape,
  );
  return crossEntropy(model.forward(inputs), tensor(device, labelsOf(8, 2000 + (step % 4), 4)));
}

/** Trains from step `first` on, and returns the losses. */
export function train(
  run: string,
  { model, optimizer }: ReturnType<typeof make>,
  device: Device,
  first: number,
  steps: number,
): Promise<number[]> {
  const losses: Promise<number>[] = [];
  for (let step = first; step < first + steps; step++)
    tidy(() => {
      const loss = lossOf(run, model, device, step);
      losses.push(loss.item());
      backward(loss);
      optimizer.step();
      optimizer.zeroGrad();
    });
  return Promise.all(losses);
}
