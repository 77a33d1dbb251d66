import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { adamPreconditioner, curvature } from "#lib/curvature/index.js";
import type { Device } from "#lib/native/index.js";
import * as nn from "#lib/nn/index.js";
import { Adam, type AdamOptions, AdamW, Lion, SGD } from "#lib/optim/index.js";
import { type Tensor, tensor } from "#lib/tensor/index.js";
import { Trainer } from "#lib/train/index.js";
import { readCheckpoint } from "#lib/weights/index.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import { numbers } from "../support/numbers.js";
import { device, images, plainMLP } from "../train/support/runs.js";
import { inEigenbasis, trueMass } from "./support/matrices.js";
import { batchOf, cases, weightsOf } from "./support/references.js";

const folder = temporaryFolders();

/** Σ hᵢwᵢ²/2 for any input. The Hessian is diag(h), the gradient hᵢwᵢ. */
class Bowl extends nn.Module {
  readonly weight: nn.Parameter;
  readonly #curvatures: Tensor;

  constructor(on: Device, weights: Float32Array, curvatures: Float32Array) {
    super();
    this.weight = new nn.Parameter(tensor(on, weights));
    this.#curvatures = tensor(on, curvatures).keep();
  }

  forward(): Tensor {
    return this.weight.square().multiply(this.#curvatures).multiply(0.5);
  }
}

const sum: nn.Loss = (outputs) => outputs.sum();
const nothing = batchOf(Float32Array.of(0), 1, Float32Array.of(0));
const size = 40;
const curvatures = Float32Array.from({ length: size }, (_, i) => 1 + i);
const weights = numbers(size, 1);

describe("the preconditioned Hessian", () => {
  test("of a diagonal Hessian is divided by D, and the gradient by the root of D", async () => {
    const model = new Bowl(await device(), weights, curvatures);
    const D = Float64Array.from({ length: size }, (_, i) => 2 + Math.sin(i));
    const found = await curvature(model, nothing, { loss: sum, preconditioner: new Map([["weight", D]]) });
    const truth = {
      name: "",
      eigenvalues: D.map((d, i) => curvatures[i]! / d),
      parts: D.map((d, i) => (curvatures[i]! * weights[i]!) / Math.sqrt(d)),
    };
    const largest = Math.max(...truth.eigenvalues);
    expect(Math.abs(found.lambdaMax - largest)).toBeLessThan(1e-4 * largest);
    const quantile = [...truth.eigenvalues].sort((a, b) => a - b).find((x) => trueMass(truth, x).upTo >= 0.05)!;
    expect(Math.abs(found.lambdaQ.estimate - quantile)).toBeLessThan(1e-3 * largest);
    expect(found.kappa.estimate).toBeCloseTo(largest / quantile, 1);
    expect(found.negativeMass).toMatchObject({ estimate: 0, lowest: 0 });
    // The gradient norm is that of the loss without a preconditioner.
    expect(found.gradientNorm).toBeCloseTo(Math.hypot(...curvatures.map((h, i) => h * weights[i]!)), 3);
  });

  test("excludes weights with an infinite preconditioner", async () => {
    const model = new Bowl(await device(), weights, curvatures);
    const D = Float64Array.from({ length: size }, (_, i) => (i >= 30 ? Infinity : 1));
    const { lambdaMax, lambdaMin } = await curvature(model, nothing, {
      loss: sum,
      preconditioner: new Map([["weight", D]]),
    });
    expect(lambdaMax).toBeCloseTo(30, 2);
    expect(lambdaMin).toBeCloseTo(1, 2);
  });

  test.each(cases)("of $title is D^(−1/2)·H·D^(−1/2)", async ({ batch, loss, model: make, reference }) => {
    const model = make(await device());
    const at = await weightsOf(model);
    const D = at.map((_, i) => 10 ** Math.sin(3 * i));
    let offset = 0;
    const preconditioner = new Map<string, Float64Array>();
    for (const { name, size: count } of model.parameters()) {
      preconditioner.set(name, D.subarray(offset, offset + count));
      offset += count;
    }
    const root = D.map(Math.sqrt);
    const hessian = reference.hessian(at).map((row, i) => row.map((value, j) => value / (root[i]! * root[j]!)));
    const truth = inEigenbasis(
      "",
      hessian,
      reference.gradient(at).map((value, i) => value / root[i]!),
    );
    const largest = Math.max(...truth.eigenvalues);
    const { lambdaMax, lambdaQ } = await curvature(model, batch, { loss, preconditioner, share: 0.8 });
    expect(Math.abs(lambdaMax - largest)).toBeLessThan(0.01 * largest);
    const quantile = [...truth.eigenvalues].sort((a, b) => a - b).find((x) => trueMass(truth, x).upTo >= 0.2)!;
    expect(lambdaQ.lowest).toBeLessThanOrEqual(quantile);
    expect(lambdaQ.highest).toBeGreaterThanOrEqual(quantile);
  });
});

/** Runs some steps, and computes the second moments in float64. */
async function somewhere(Rule: typeof Adam | typeof AdamW, options: Partial<AdamOptions> = {}, steps = 7) {
  const on = await device();
  const model = new Bowl(on, weights, curvatures);
  const optimizer = new Rule(model.parameters(), { lr: 0.05, ...options });
  const [, beta2] = options.betas ?? [0.9, 0.999];
  const second = new Float64Array(size);
  const highest = new Float64Array(size);
  for (let step = 0; step < steps; step++) {
    model.forward().sum().backward();
    const gradient = await model.weight.grad!.read();
    for (let i = 0; i < size; i++) {
      second[i] = beta2 * second[i]! + (1 - beta2) * gradient[i]! ** 2;
      highest[i] = Math.max(highest[i]!, second[i]!);
    }
    optimizer.step();
    optimizer.zeroGrad();
  }
  const moments = options.amsgrad ? highest : second;
  const expected = moments.map((v) => Math.sqrt(v / (1 - beta2 ** steps)) + (options.epsilon ?? 1e-8));
  return { optimizer, expected };
}

/** The largest relative difference. */
const off = (found: Float64Array, expected: Float64Array) =>
  Math.max(...expected.map((value, i) => Math.abs(found[i]! - value) / value));

describe("Adam's preconditioner", () => {
  test.each<[string, typeof Adam | typeof AdamW, Partial<AdamOptions>, number]>([
    ["Adam", Adam, {}, 1e-5],
    ["AdamW with other options", AdamW, { betas: [0.8, 0.95], epsilon: 0.3 }, 1e-5],
    ["AMSGrad", Adam, { amsgrad: true, betas: [0.9, 0.5] }, 1e-5],
    // Each moment has eight significant bits.
    ["moments in bfloat16", AdamW, { momentType: "bfloat16" }, 0.02],
  ])("is √v̂ + ε: %s", async (_, Rule, options, allowed) => {
    const { optimizer, expected } = await somewhere(Rule, options);
    const found = await adamPreconditioner(optimizer);
    expect([...found.keys()]).toEqual(["weight"]);
    expect(off(found.get("weight")!, expected)).toBeLessThan(allowed);
  });

  test("is infinite for a weight that never had a gradient", async () => {
    const model = new Bowl(await device(), Float32Array.of(1, 0, 2), Float32Array.of(1, 1, 1));
    const optimizer = new Adam(model.parameters(), { lr: 0.1 });
    model.forward().sum().backward();
    optimizer.step();
    const found = await adamPreconditioner(optimizer);
    expect(found.get("weight")![1]).toBe(Infinity);
    expect(found.get("weight")![2]).toBeCloseTo(2, 5);
  });

  test("of a checkpoint equals that of the run", async () => {
    const model = plainMLP(await device());
    // The groups that the command creates, which differ in their decay.
    const groups = [
      { where: (_: string, { shape }: { shape: readonly number[] }) => shape.length < 2, weightDecay: 0 },
    ];
    const optimizer = new AdamW(model.parameters(), { lr: 0.01, groups });
    const data = images.batches({ size: 16 });
    const prepare = { preprocessing: images.preprocessing() };
    const trainer = new Trainer({ model, optimizer, loss: nn.crossEntropy, data, budget: 3, card: prepare });
    for await (const record of trainer.run()) void record;
    const path = join(folder(), "run.safetensors");
    await trainer.save(path);
    const [saved, live] = [await adamPreconditioner(await readCheckpoint(path)), await adamPreconditioner(optimizer)];
    expect(saved).toEqual(live);
    expect([...saved.keys()].sort()).toEqual(
      model
        .parameters()
        .map(({ name }) => name)
        .sort(),
    );
    const batch = await data.at(0);
    const normalize = new nn.Preprocessing(images.preprocessing());
    const found = await curvature(model, batch, {
      prepare: (raw) => normalize.apply(raw),
      preconditioner: saved,
      steps: 3,
    });
    expect(found.lambdaMax).toBeGreaterThan(0);
    await data.close();
  });

  test("is refused if there is none", async () => {
    const on = await device();
    const { optimizer } = await somewhere(Adam, {}, 0);
    await expectError(() => adamPreconditioner(optimizer), "invalid-argument", "Adam has made no step yet");
    for (const Rule of [SGD, Lion]) {
      const model = plainMLP(on);
      const other = new Rule(model.parameters(), { lr: 0.1 });
      const checkpoint = { info: { run: other.toJSON() }, optimizer: new Map(), model: new Map() };
      await expectError(
        () => adamPreconditioner(checkpoint as unknown as Parameters<typeof adamPreconditioner>[0]),
        "invalid-argument",
        `expected the state of Adam or AdamW, got ${Rule.name}`,
      );
    }
    for (const odd of [{ epsilon: 1e-3 }, { betas: [0.9, 0.99] as const }]) {
      const model = plainMLP(on);
      const groups = [{ where: (name: string) => name.endsWith("bias"), ...odd }];
      const mixed = new Adam(model.parameters(), { lr: 0.1, groups });
      await expectError(
        () => adamPreconditioner(mixed),
        "unsupported",
        "parameter groups with different betas or epsilon",
      );
    }
  });
});
