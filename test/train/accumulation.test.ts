// A step of several batches equals the step of all their items in one batch, whatever the sizes and weights of the
// batches.
import { describe, expect, it } from "vitest";
import { fromArrays, fromIterable } from "#lib/data/index.js";
import * as models from "#lib/models/index.js";
import type { Device } from "#lib/native/index.js";
import * as nn from "#lib/nn/index.js";
import { SGD } from "#lib/optim/index.js";
import * as t from "#lib/tensor/index.js";
import { evaluate, type StepRecord, Trainer } from "#lib/train/index.js";
import { cudaDevices, openAll } from "../support/devices.js";
import { labelsOf, numbers } from "../support/numbers.js";
import { device, endOf, lossesOf } from "./support/runs.js";

const [features, classes] = [6, 4];
const opened = [{ label: "cpu", device: await device() }, ...(await openAll({}, cudaDevices))];

interface Items {
  readonly inputs: Float32Array;
  readonly labels: Int32Array | Float32Array;
}
type Targets = "classes" | "some ignored" | "floats";

/** Items from an index on, with labels of one kind. For some kinds whole batches have weight zero. */
function itemsOf(from: number, count: number, targets: Targets): Items {
  const inputs = numbers((from + count) * features, 1).slice(from * features);
  if (targets === "floats") return { inputs, labels: numbers((from + count) * classes, 2).slice(from * classes) };
  const labels = labelsOf(from + count, 2, classes).slice(from);
  const ignored = labelsOf(from + count, 3, 3).slice(from);
  return { inputs, labels: targets === "classes" ? labels : labels.map((label, i) => (ignored[i] ? label : -100)) };
}

/** Batches of the given sizes in order. Steps can be captured if all sizes are equal. */
function* batchesOf(sizes: readonly number[], targets: Targets) {
  let from = 0;
  for (const size of sizes) {
    const { inputs, labels } = itemsOf(from, size, targets);
    yield {
      inputs: { data: inputs, shape: [size, features] },
      labels: labels instanceof Int32Array ? labels : { data: labels, shape: [size, classes] },
    };
    from += size;
  }
}

interface Setting {
  readonly loss: nn.Loss;
  readonly targets: Targets;
  readonly bf16?: boolean;
}

async function runOf(
  on: Device,
  sizes: readonly number[],
  { loss, targets, bf16 = false }: Setting,
  { accumulate, capture = false, clipNorm }: { accumulate: number; capture?: boolean; clipNorm?: number },
) {
  const model = models.mlp({ inputs: features, hidden: [5], classes, device: on, seed: 3 });
  if (bf16) model.setPrecision("bf16");
  const optimizer = new SGD(model.parameters(), { lr: 0.5, momentum: 0.9, gradientScale: 0.5, clipNorm });
  const data = fromIterable(() => batchesOf(sizes, targets));
  const trainer = new Trainer({ model, optimizer, loss, data, accumulate, budget: sizes.length / accumulate });
  const records: StepRecord[] = [];
  for await (const record of trainer.run({ capture })) records.push(record);
  const weights = await Promise.all(
    model.parameters().map(async (weight) => [...(await t.asType(weight, "float32").read())]),
  );
  return { records, end: await endOf({ model, optimizer }), weights: weights.flat() };
}

const together = (sizes: readonly number[], each: number) =>
  Array.from({ length: sizes.length / each }, (_, i) =>
    sizes.slice(i * each, (i + 1) * each).reduce((sum, size) => sum + size, 0),
  );

// Sizes of twelve batches, three per step. Some batches have a single item, whose label may be ignored.
const unequal = [5, 1, 3, 1, 1, 9, 2, 7, 1, 4, 4, 4];
const equal = new Array<number>(12).fill(2);

describe.each(opened)("accumulation ($label)", ({ device: on }) => {
  const classWeights = t.tensor(on, [0.5, 1, 2, 0]);
  const penalty = (outputs: t.Tensor) => outputs.square().mean();
  const settings: readonly (Setting & { title: string })[] = [
    { title: "cross-entropy", loss: nn.crossEntropy, targets: "classes" },
    { title: "cross-entropy, some labels ignored", loss: nn.crossEntropy, targets: "some ignored" },
    {
      title: "cross-entropy with class weights of which one is 0, smoothed",
      loss: (x, y) => nn.crossEntropy(x, y, { classWeights, smoothing: 0.1 }),
      targets: "some ignored",
    },
    {
      title: "cross-entropy that ignores class 1",
      loss: (x, y) => nn.crossEntropy(x, y, { ignoreIndex: 1 }),
      targets: "classes",
    },
    { title: "squared error", loss: nn.meanSquaredError, targets: "floats" },
    {
      title: "weighted squared error",
      loss: (x, y) => nn.meanSquaredError(x, y, { weights: t.square(y) }),
      targets: "floats",
    },
    {
      title: "binary cross-entropy",
      loss: (x, y) => nn.binaryCrossEntropy(x, t.square(y)),
      targets: "floats",
    },
    {
      title: "a custom loss, a mean over the items",
      loss: (x, y) => t.add(nn.crossEntropy(x, y, { reduction: "none" }).mean(), penalty(x)),
      targets: "classes",
    },
    {
      title: "a custom loss with its weight",
      loss: (x, y) => {
        const entropy = nn.crossEntropy(x, y, { classWeights });
        return nn.withWeight(entropy.multiply(2), nn.weightOf(entropy)!);
      },
      targets: "classes",
    },
  ];

  it.each(settings)("equals the step of all items together: $title", async (setting) => {
    const parts = await runOf(on, unequal, setting, { accumulate: 3 });
    const whole = await runOf(on, together(unequal, 3), setting, { accumulate: 1 });
    expect(parts.records).toHaveLength(4);
    parts.records.forEach((record, i) => {
      const { loss, items } = whole.records[i]!;
      expect(record.items).toBe(items);
      expect(Math.abs(record.loss - loss)).toBeLessThan(1e-5 * (1 + loss));
    });
    // The two runs sum in different orders.
    parts.weights.forEach((weight, i) => {
      expect(Math.abs(weight - whole.weights[i]!)).toBeLessThan(1e-5 * (1 + Math.abs(weight)));
    });
  });

  it.each(settings)("gives the bits of the eager run if captured: $title", async (setting) => {
    for (const sizes of [equal, unequal]) {
      const eager = await runOf(on, sizes, setting, { accumulate: 3, clipNorm: 0.3 });
      const captured = await runOf(on, sizes, setting, { accumulate: 3, clipNorm: 0.3, capture: true });
      expect(captured.records).toEqual(eager.records);
      expect(captured.end).toEqual(eager.end);
    }
  });

  it("clips the gradient of all items together", async () => {
    const setting = { loss: nn.crossEntropy, targets: "some ignored" } as const;
    const parts = await runOf(on, unequal, setting, { accumulate: 3, clipNorm: 0.1 });
    const whole = await runOf(on, together(unequal, 3), setting, { accumulate: 1, clipNorm: 0.1 });
    parts.records.forEach(({ gradientNorm = 0 }, i) => {
      expect(Math.abs(gradientNorm / (whole.records[i]!.gradientNorm ?? 0) - 1)).toBeLessThan(1e-5);
    });
  });

  it("in bf16 equals the step of all items together, up to rounding in bfloat16", async () => {
    const setting = { loss: nn.crossEntropy, targets: "some ignored", bf16: true } as const;
    const parts = await runOf(on, unequal, setting, { accumulate: 3 });
    const whole = await runOf(on, together(unequal, 3), setting, { accumulate: 1 });
    lossesOf(parts.records).forEach((loss, i) => {
      expect(Math.abs(loss - whole.records[i]!.loss)).toBeLessThan(0.02 * (1 + loss));
    });
  });

  it("stops with an error at a step whose items are all ignored", async () => {
    const nothing = function* () {
      for (let i = 0; i < 6; i++)
        yield {
          inputs: { data: numbers(2 * features, i), shape: [2, features] },
          labels: Int32Array.of(i < 4 ? 0 : -100, -100),
        };
    };
    for (const [accumulate, made] of [
      [1, 4],
      [2, 2],
    ] as const) {
      const model = models.mlp({ inputs: features, hidden: [5], classes, device: on, seed: 3 });
      const optimizer = new SGD(model.parameters(), { lr: 0.5 });
      const data = fromIterable(nothing);
      const trainer = new Trainer({
        model,
        optimizer,
        loss: nn.crossEntropy,
        data,
        accumulate,
        budget: 6 / accumulate,
      });
      const records: StepRecord[] = [];
      const run = async () => {
        for await (const record of trainer.run()) records.push(record);
      };
      await expect(run()).rejects.toThrow(/the loss is NaN.*no label that counts/);
      expect(records).toHaveLength(made);
      // The step has not damaged the weights.
      for (const weight of model.parameters())
        expect([...((await weight.read()) as Float32Array)].every(Number.isFinite)).toBe(true);
    }
  });

  describe("in a custom loop", () => {
    const step = async (loop: (model: nn.Module, optimizer: SGD) => void) => {
      const model = models.mlp({ inputs: features, hidden: [5], classes, device: on, seed: 3 });
      const optimizer = new SGD(model.parameters(), { lr: 0.5 });
      loop(model, optimizer);
      return (await Promise.all(model.parameters().map(async (weight) => [...(await weight.read())]))).flat();
    };
    const on3 = (sizes: readonly number[]) =>
      [...batchesOf(sizes, "some ignored")].map(({ inputs, labels }) => ({
        x: t.tensor(on, inputs.data, inputs.shape),
        y: t.tensor(on, labels as Int32Array),
        counted: (labels as Int32Array).filter((label) => label !== -100).length,
      }));

    it("divides sums by the weight, which is on the host or on the device", async () => {
      const whole = await step((model, optimizer) => {
        for (const { x, y } of on3([9])) nn.crossEntropy(model.forward(x), y).backward();
        optimizer.step();
      });
      const onHost = await step((model, optimizer) => {
        let counted = 0;
        for (const part of on3([5, 1, 3])) {
          nn.crossEntropy(model.forward(part.x), part.y, { reduction: "sum" }).backward();
          counted += part.counted;
        }
        optimizer.step({ gradientScale: 1 / counted });
      });
      const onDevice = await step((model, optimizer) => {
        let totalWeight = t.zeros(on, []);
        for (const { x, y } of on3([5, 1, 3])) {
          const loss = nn.crossEntropy(model.forward(x), y);
          loss.backward(nn.weightOf(loss));
          totalWeight = totalWeight.add(nn.weightOf(loss)!);
        }
        optimizer.step({ totalWeight });
      });
      for (const got of [onHost, onDevice])
        got.forEach((value, i) => {
          expect(Math.abs(value - whole[i]!)).toBeLessThan(1e-6 * (1 + Math.abs(value)));
        });
    });
  });

  it("is not needed in an evaluation, which weights a short last batch and ignored labels correctly", async () => {
    const model = models.mlp({ inputs: features, hidden: [5], classes, device: on, seed: 3 });
    const { inputs, labels } = itemsOf(0, 23, "some ignored");
    const set = fromArrays({ inputs, labels: labels as Int32Array, shape: [features] });
    const losses: readonly nn.Loss[] = [
      nn.crossEntropy,
      (x, y) => nn.crossEntropy(x, y, { classWeights, ignoreIndex: 2, itemWeights: t.ones(on, y.shape) }),
    ];
    for (const [i, loss] of losses.entries()) {
      // The second loss ignores class 2 instead of −100.
      const source = i === 0 ? set : fromArrays({ inputs, labels: labelsOf(23, 2, classes), shape: [features] });
      const of = (size: number) =>
        evaluate(source.batches({ size }), { model, device: on, loss, prepare: (x: t.Tensor) => x });
      const [whole, parts] = [await of(23), await of(5)];
      expect(parts.loss).toBeCloseTo(whole.loss, 6);
      expect(parts.accuracy).toBeCloseTo(whole.accuracy!, 12);
      expect(parts.items).toBe(23);
      const ignored = i === 0 ? -100 : 2;
      const truth = i === 0 ? (labels as Int32Array) : labelsOf(23, 2, classes);
      const outputs = t.noGrad(() => model.forward(t.tensor(on, inputs, [23, features])));
      const best = await t.argmax(outputs).read();
      const counted = truth.filter((label) => label !== ignored).length;
      const right = truth.filter((label, j) => label !== ignored && label === best[j]).length;
      expect(parts.accuracy).toBeCloseTo(right / counted, 12);
    }
  });
});
