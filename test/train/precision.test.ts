// bf16: weights, activations and gradients are bfloat16; master weights, statistics and losses are float32.
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import * as models from "#lib/models/index.js";
import { type Device, findAddon, openDevice } from "#lib/native/index.js";
import type * as nn from "#lib/nn/index.js";
import { AdamW } from "#lib/optim/index.js";
import * as schedule from "#lib/schedule/index.js";
import { cast, crossEntropy, noGrad, type Tensor, tensor, tidy } from "#lib/tensor/index.js";
import type { Trainer } from "#lib/train/index.js";
import { loadModel, loadWeights } from "#lib/weights/index.js";
import { openAll } from "../support/devices.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import {
  budget,
  card,
  device,
  images,
  lowPrecision,
  plainMLP,
  recordsOf,
  residual,
  runOf,
  smallResNet,
} from "./support/runs.js";

const folder = temporaryFolders();
const on = await device();
const all = await openAll();

const typesOf = (state: ReadonlyMap<string, Tensor>) =>
  Object.fromEntries([...state].map(([name, { dtype }]) => [name, dtype]));
const valuesOf = async (x: Tensor) => Array.from(await cast(x.detach(), "float32").read());

describe("setPrecision", () => {
  it("rounds parameters to nearest and keeps statistics in float32", async () => {
    const model = smallResNet(on);
    const before = new Map(
      await Promise.all([...model.stateDict()].map(async ([name, x]) => [name, await x.read()] as const)),
    );
    expect(model.precision).toBe("float32");
    expect(model.setPrecision("bf16")).toBe(model);
    expect(model.precision).toBe("bf16");
    for (const [name, x] of model.stateDict()) {
      const isStatistic = name.includes("running");
      expect(x.dtype, name).toBe(isStatistic ? "float32" : "bfloat16");
      const rounded = cast(tensor(on, before.get(name) as Float32Array), x.dtype);
      expect(await x.read(), name).toEqual(await rounded.read());
    }
  });

  it("keeps shared parameters shared, releases memory, and can be reversed", async () => {
    const before = on.memory().allocated;
    const taken = () => on.memory().allocated - before;
    const model = models.olmo({
      vocabulary: 20,
      context: 8,
      width: 16,
      layers: 1,
      heads: 2,
      hidden: 24,
      device: on,
    });
    const wide = taken();
    model.setPrecision("bf16");
    // Half, except for the rounding up of memory blocks.
    expect(taken()).toBeLessThan(0.6 * wide);
    const tokens = tensor(
      on,
      Int32Array.from({ length: 8 }, (_, i) => i),
      [1, 8],
    );
    const labels = tensor(
      on,
      Int32Array.from({ length: 8 }, (_, i) => i + 1),
      [1, 8],
    );
    tidy(() => crossEntropy(model.forward(tokens), labels).backward());
    for (const parameter of model.parameters()) expect(parameter.grad?.dtype, parameter.name).toBe("bfloat16");
    model.setPrecision("float32");
    expect(model.parameters().every(({ dtype, grad }) => dtype === "float32" && grad === undefined)).toBe(true);
    for (const one of [tokens, labels]) one.dispose();
    expect(taken()).toBe(wide);
    model.dispose();
  });

  it("refuses an unknown name, and a model that already has an optimizer", () => {
    const model = plainMLP(on);
    expectError(
      () => model.setPrecision("bf8" as nn.Precision),
      "invalid-argument",
      "precision",
      "float32 or bf16",
      '"bf8"',
    );
    const optimizer = new AdamW(model.parameters(), { lr: 0.1 });
    model.setPrecision("bf16");
    const x = cast(tensor(on, new Float32Array(144), [1, 12, 12, 1]), "bfloat16");
    crossEntropy(model.forward(x), tensor(on, Int32Array.of(1))).backward();
    expectError(
      () => optimizer.step(),
      "invalid-state",
      "were float32",
      "now they are bfloat16",
      "setPrecision before",
    );
  });
});

describe.each(all)("training in bf16 on $label", ({ label, device: where }) => {
  // A step takes a third of a second on the emulator.
  const until = label === "cuda:emulated" ? 4 : budget;
  const run = async (trainer: Trainer) => {
    const losses: number[] = [];
    for await (const { loss } of trainer.run({ until })) losses.push(loss);
    return losses;
  };

  it("keeps float32 master weights, of which the weights are rounded copies, and learns like float32", async () => {
    const low = lowPrecision.make(where);
    const losses = await run(low.trainer);
    const types = typesOf(low.optimizer.stateDict());
    const state = low.optimizer.stateDict();
    for (const [name, parameter] of low.model.namedParameters()) {
      expect(types[`${name}.master`]).toBe("float32");
      expect(types[`${name}.expAvg`]).toBe("float32");
      const rounded = cast(state.get(`${name}.master`) as Tensor, "bfloat16");
      expect(await parameter.read(), name).toEqual(await rounded.read());
      rounded.dispose();
    }
    const model = smallResNet(where);
    const optimizer = new AdamW(model.parameters(), low.optimizer.groups[0]!.options as never);
    const wide = lowPrecision.make(where, { model, optimizer });
    const expected = await run(wide.trainer);
    // bfloat16 has 8 significant bits. Rates are about a hundredth per step, and a loss around 1 has been rounded about
    // ten times.
    for (const [i, loss] of losses.entries()) expect(Math.abs(loss - expected[i]!), `step ${i}`).toBeLessThan(0.1);
    if (until === budget) expect(losses.at(-1)).toBeLessThan(0.8 * losses[0]!);
  });
});

describe("a checkpoint of a bf16 run", () => {
  it("is loaded in bf16 with the same outputs, and in float32 with nearly the same", async () => {
    const run = lowPrecision.make(on);
    await recordsOf(run.trainer);
    const path = join(folder(), "low.safetensors");
    await run.trainer.save(path);
    const expected = await run.trainer.evaluate(images.batches({ size: 16 }));
    const raw = tensor(on, images.inputs.data.slice(0, 4 * 144) as Uint8Array, [4, 12, 12, 1]);
    const outputs = ({ model, prepare }: Pick<Awaited<ReturnType<typeof loadModel>>, "model" | "prepare">) =>
      valuesOf(noGrad(() => tidy(() => model.forward(prepare(raw)))));
    const low = await loadModel(path, { device: on });
    expect(low.model.precision).toBe("bf16");
    const wide = await loadModel(path, { device: on, precision: "float32" });
    expect(wide.model.precision).toBe("float32");
    const [a, b] = [await outputs(low), await outputs(wide)];
    for (const [i, value] of a.entries()) expect(Math.abs(value - b[i]!)).toBeLessThan(0.05 * (1 + Math.abs(value)));
    expect(a).not.toEqual(b);
    expect(expected.accuracy).toBeGreaterThan(0.3);
  });

  it("is refused by a float32 run, and the error names both precisions", async () => {
    const path = join(folder(), "low.safetensors");
    const low = lowPrecision.make(on);
    await low.trainer.save(path);
    const model = smallResNet(on);
    const optimizer = new AdamW(model.parameters(), low.optimizer.groups[0]!.options as never);
    const wide = lowPrecision.make(on, { model, optimizer });
    await expectError(() => wide.trainer.load(path), "invalid-file", "low.safetensors", 'the precision was "bf16"');
  });

  it("can start from the weights of a float32 run", async () => {
    const path = join(folder(), "wide.safetensors");
    const run = residual.make(on);
    await run.trainer.save(path);
    const model = smallResNet(on, 5).setPrecision("bf16");
    await loadWeights(model, path);
    for (const [name, x] of run.model.stateDict())
      expect(await valuesOf(model.stateDict().get(name) as Tensor), name).toEqual(
        await valuesOf(name.includes("running") ? x : cast(x.detach(), "bfloat16")),
      );
  });
});

describe.skipIf(!findAddon("cuda-emulated").addon)("a checkpoint of a run with products in TF32", () => {
  const perceptron = (gpu: Device) => {
    const model = plainMLP(gpu);
    const optimizer = new AdamW(model.parameters(), { lr: schedule.constant({ budget, maxLr: 1e-3 }) });
    return runOf({ model, optimizer, loss: crossEntropy, data: images.batches({ size: 16 }), card });
  };

  it("continues on such a device only, and its model is loaded anywhere", async () => {
    const rounding = await openDevice("cuda:emulated", { float32Products: "tf32" });
    const exact = await openDevice("cuda:emulated");
    const path = join(folder(), "tf32.safetensors");
    const run = perceptron(rounding);
    for await (const record of run.trainer.run({ until: 2 })) void record;
    await run.trainer.save(path);
    const again = perceptron(rounding);
    await again.trainer.load(path);
    expect(again.trainer.step).toBe(2);
    await expectError(
      () => perceptron(exact).trainer.load(path),
      "invalid-file",
      'the float32Products was "tf32", this run has undefined',
    );
    const plain = join(folder(), "plain.safetensors");
    await perceptron(exact).trainer.save(plain);
    await expectError(
      () => perceptron(rounding).trainer.load(plain),
      "invalid-file",
      'the float32Products was undefined, this run has "tf32"',
    );
    const state = run.model.stateDict();
    const model = plainMLP(on);
    await loadWeights(model, path);
    for (const [name, x] of model.stateDict()) expect(await x.read(), name).toEqual(await state.get(name)!.read());
    await rounding.close();
    await exact.close();
  });
});
