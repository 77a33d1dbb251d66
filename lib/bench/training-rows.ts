// Whole training steps of resnet18 with 512 images and of OLMo-36M with 16 sequences of 1,024 tokens.
import { type BatchSource, fromIterable, type GivenBatch } from "../data/index.js";
import * as models from "../models/index.js";
import type { Device } from "../native/index.js";
import { crossEntropy, type Module } from "../nn/index.js";
import { AdamW } from "../optim/index.js";
import { uba } from "../schedule/index.js";
import { elementCount } from "../shapes.js";
import { Trainer } from "../train/index.js";
import type { ModelCard } from "../weights/index.js";
import { type Cost, costOf, type EnqueuedRecord } from "./cost.js";
import { drawIds } from "./ids.js";
import { spreadOf } from "./interleave.js";
import type { BenchSize } from "./operation-cases.js";
import { predictedMilliseconds } from "./predictions.js";
import type { ContenderName, MeasuredRow } from "./rows.js";
import { bytesPerParameter, type Setting } from "./setting.js";
import { observeRecords } from "./subjects.js";
import type { PlannedRow } from "./timing.js";

/** A training that is measured. */
export interface TrainingSubject {
  readonly name: "resnet18" | "olmo-36m";
  /** What a batch has. */
  readonly batch: string;
  /** Images or tokens of a batch. */
  readonly items: number;
  /** Sizes for torch_peer.py. */
  readonly sizes: Readonly<Record<string, number>>;
  readonly make: (device: Device) => Module;
  readonly data: () => BatchSource;
  readonly card?: ModelCard;
}

const sizes = {
  full: {
    resnet18: { batch: 512, side: 224, classes: 1000 },
    olmo36m: { batch: 16, length: 1024, vocabulary: 50_304, shape: models.olmoShapes["olmo-36m"] },
  },
  small: {
    resnet18: { batch: 2, side: 32, classes: 10 },
    olmo36m: { batch: 2, length: 32, vocabulary: 500, shape: { width: 32, layers: 1, heads: 2, hidden: 64 } },
  },
};

/**
 * Returns the trainings that are measured.
 *
 * @param items number of images or sequences of a batch, if it should not be the usual one
 */
export function trainingSubjects(size: BenchSize, items?: number): TrainingSubject[] {
  return [resnet18(size, items), olmo36m(size, items)];
}

function resnet18(size: BenchSize, items?: number): TrainingSubject {
  const { side, classes, batch: usual } = sizes[size].resnet18;
  const batch = items ?? usual;
  const shape = [side, side, 3];
  return {
    name: "resnet18",
    batch: `${batch} images of ${side} × ${side}`,
    items: batch,
    sizes: { batch, side, classes },
    make: (device) => models.resnet18({ classes, device, seed: 0 }),
    data: () => {
      // Every image has the same pixels, because random numbers for all of them take seconds.
      const image = Uint8Array.from(drawIds("uniform", elementCount(shape), 256, 0));
      const inputs = new Uint8Array(batch * image.length);
      for (let i = 0; i < batch; i++) inputs.set(image, i * image.length);
      const labels = drawIds("uniform", batch, classes, 1);
      return repeated({ inputs: { data: inputs, shape: [batch, ...shape] }, labels });
    },
    card: {
      preprocessing: {
        shape,
        dtype: "uint8",
        scale: 1 / 255,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
      },
    },
  };
}

function olmo36m(size: BenchSize, items?: number): TrainingSubject {
  const { batch: usual, length, vocabulary, shape } = sizes[size].olmo36m;
  const batch = items ?? usual;
  return {
    name: "olmo-36m",
    batch: `${batch} sequences of ${length} tokens`,
    items: batch * length,
    sizes: { batch, length, vocabulary, ...shape },
    make: (device) => models.olmo({ ...shape, vocabulary, context: length, device, seed: 0 }),
    data: () => {
      const data = drawIds("text", batch * length, vocabulary, 0);
      return repeated({ inputs: { data, shape: [batch, length] }, labels: { data, shape: [batch, length] } });
    },
  };
}

/** Yields the same batch repeatedly. The drawing of batches is not measured. */
function repeated(batch: GivenBatch): BatchSource {
  return fromIterable(function* () {
    for (;;) yield batch;
  });
}

const setting: Setting = { optimizer: "adamw", dtype: "bfloat16-master", moments: "float32" };

/** Returns the title of the rows of a training. */
export function trainingTitle({ name, batch }: TrainingSubject, contender: ContenderName) {
  return { group: name, name: `training step in bf16, ${batch}`, contender } as const;
}

/** Timed steps of a pass. */
export const stepsPerPass: Readonly<Record<BenchSize, number>> = { full: 10, small: 1 };

/**
 * Plans the measurement of a training step in bf16 with AdamW, batches from the host included. Its work is counted from
 * the operations of an eager step.
 */
export function trainingRow(subject: TrainingSubject, size: BenchSize, contender: "stepsize" | "captured"): PlannedRow {
  const title = trainingTitle(subject, contender);
  return {
    title,
    measure: ({ device, rounds, shouldContinue }) =>
      withTrainer(device, subject, async (trainer, model) => {
        const costs = (await recordsOf(device, trainer, model)).map(costOf);
        const run = async (steps: number) => {
          const until = trainer.step + steps;
          for await (const record of trainer.run({ until, capture: contender === "captured", runAhead: true }))
            void record;
        };
        // Steps with new sizes of memory, the capture, and the first launches.
        await run(3);
        const steps = stepsPerPass[size];
        const passes: { readonly milliseconds: number; readonly busy: number }[] = [];
        while (passes.length < rounds && shouldContinue()) {
          const utilization = performance.eventLoopUtilization();
          const begin = performance.now();
          await run(steps);
          const milliseconds = (performance.now() - begin) / steps;
          passes.push({ milliseconds, busy: performance.eventLoopUtilization(utilization).active / steps });
        }
        if (passes.length === 0) return [];
        const sum = (of: (cost: Cost) => number) => costs.reduce((total, cost) => total + of(cost), 0);
        const row: MeasuredRow = {
          ...title,
          milliseconds: spreadOf(passes.map(({ milliseconds }) => milliseconds)),
          rounds: passes.length,
          cost: { bytes: sum(({ bytes }) => bytes), flops: sum(({ flops }) => flops) },
          items: subject.items,
          predictedMilliseconds: sum(predictedMilliseconds),
          hostMicroseconds: 1e3 * spreadOf(passes.map(({ busy }) => busy)).median,
        };
        return [row];
      }),
  };
}

/** Returns the records of an eager step of a training, in their order. */
export function recordsOfStep(device: Device, subject: TrainingSubject): Promise<EnqueuedRecord[]> {
  return withTrainer(device, subject, (trainer, model) => recordsOf(device, trainer, model));
}

async function withTrainer<T>(
  device: Device,
  { make, data, card }: TrainingSubject,
  work: (trainer: Trainer, model: Module) => Promise<T>,
): Promise<T> {
  const model = make(device).setPrecision("bf16");
  const optimizer = new AdamW(model.parameters(), { lr: uba({ budget: 100_000, maxLr: 1e-4 }), weightDecay: 0.1 });
  const trainer = new Trainer({ model, optimizer, loss: crossEntropy, data: data(), card });
  try {
    return await work(trainer, model);
  } finally {
    trainer.dispose();
    optimizer.dispose();
    model.dispose();
  }
}

/** Makes an eager step and returns its records. */
async function recordsOf(device: Device, trainer: Trainer, model: Module): Promise<EnqueuedRecord[]> {
  const records: EnqueuedRecord[] = [];
  const parameters = model.parameters().reduce((sum, { size }) => sum + size, 0);
  const listBytes = parameters * bytesPerParameter(setting);
  const stop = observeRecords(device, (record) => {
    records.push(record.operation === "update" ? { ...record, listBytes } : record);
  });
  try {
    for await (const record of trainer.run({ until: trainer.step + 1 })) void record;
  } finally {
    stop();
  }
  return records;
}
