// Every options object in the public API refuses unknown names. The functions that take options are read from the
// compiler's declarations, so that new ones are found automatically.
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import * as lib from "#lib/index.js";
import { temporaryFolders } from "../support/folders.js";

const { data, models, nn, ops, schedule, theory, tensor } = lib;
const dist = resolve(import.meta.dirname, "../../dist");
const folder = temporaryFolders();
const device = await lib.openDevice("cpu");

/** The folders that declare the names of a part of the public API. */
const parts: Record<string, { readonly surface: object; readonly folders: readonly string[] }> = {
  data: { surface: data, folders: ["data"] },
  models: { surface: models, folders: ["models"] },
  nn: { surface: nn, folders: ["nn", "tensor"] },
  ops: { surface: ops, folders: ["tensor/operations"] },
  schedule: { surface: schedule, folders: ["schedule"] },
  theory: { surface: theory, folders: ["schedule/theory"] },
  stepsize: { surface: lib, folders: ["curvature", "native", "onnx", "optim", "tensor", "text", "train", "weights"] },
};

/** Types of data that are not options and may have additional properties. */
const dataTypes = /^(Batch|BatchNormState|GivenBatch\w*|TokenizerSpec|Checkpoint)$/;

/** The text between a bracket and its closing bracket. */
function inside(text: string, open: number): string {
  let depth = 0;
  for (let i = open; i < text.length; i++) {
    if ("([{".includes(text[i]!)) depth++;
    if (")]}".includes(text[i]!) && --depth === 0) return text.slice(open + 1, i);
  }
  throw new Error(`unbalanced: ${text.slice(open, open + 80)}`);
}

/** Splits a list at the commas outside brackets. */
function cut(list: string): string[] {
  const found: string[] = [];
  let [depth, from] = [0, 0];
  for (let i = 0; i <= list.length; i++) {
    const c = list[i];
    if (c !== undefined && "([{<".includes(c)) depth++;
    if (c !== undefined && (")]}".includes(c) || (c === ">" && list[i - 1] !== "="))) depth--;
    if (i === list.length || (c === "," && depth === 0)) {
      found.push(list.slice(from, i).trim());
      from = i + 1;
    }
  }
  return found.filter((one) => one !== "");
}

/** Whether a parameter of a declaration is an object of options. */
function isOptions(parameter: string): boolean {
  const [, name = "", type = ""] = /^((?:\{[\s\S]*?\}|[\w.]+)\??):\s*([\s\S]*)$/.exec(parameter) ?? [];
  if (dataTypes.test(type.split(/[\s&|]/)[0]!)) return false;
  return name.startsWith("{") || /^(options|config|given)\??$/.test(name) || /\b\w*(Options|Overrides)\b/.test(type);
}

/** The public functions, constructors and methods of a file that take options. */
function callsIn(text: string, isPublic: (name: string) => boolean): string[] {
  const found: string[] = [];
  const takes = (source: string, at: number) => cut(inside(source, source.indexOf("(", at))).some(isOptions);
  for (const match of text.matchAll(/^export declare function (\w+)/gm)) {
    if (isPublic(match[1]!) && takes(text, match.index)) found.push(match[1]!);
  }
  for (const match of text.matchAll(/^export (?:declare (?:abstract )?class|interface) (\w+)[^{]*(?=\{)/gm)) {
    const name = match[1]!;
    if (!isPublic(name)) continue;
    const body = inside(text, match.index + match[0].length);
    for (const member of body.matchAll(/(\/\*\*(?:(?!\*\/)[\s\S])*\*\/\s*)?^ {4}(\w+)(?:<[^>]*>)?\(/gm)) {
      if (member[1]?.includes("@internal") || !takes(body, member.index + member[0].length - 1)) continue;
      found.push(member[2] === "constructor" ? name : `${name}.${member[2]}`);
    }
  }
  return found;
}

function publicCalls(): string[] {
  const found = Object.entries(parts).flatMap(([part, { surface, folders }]) =>
    folders.flatMap((place) => {
      const files = readdirSync(join(dist, place)).filter((file) => file.endsWith(".d.ts"));
      const index = readFileSync(join(dist, place, "index.d.ts"), "utf8");
      const isPublic = (name: string) => name in surface || new RegExp(`type ${name}\\b|\\b${name}[,} ]`).test(index);
      const isHere = (name: string) => (part === "stepsize" || part === "nn" ? name in surface : isPublic(name));
      return files
        .flatMap((file) => callsIn(readFileSync(join(dist, place, file), "utf8"), isHere))
        .map((name) => `${part}.${name}`);
    }),
  );
  return [...new Set(found)].sort();
}

const x = ops.ones(device, [1, 2, 2, 2]);
const rows = ops.ones(device, [2, 2]);
const labels = tensor(device, Int32Array.of(0, 1));
const heads = ops.ones(device, [1, 2, 1, 2]);
const channels = () => ops.ones(device, [2]);
const state = () => ({ gamma: channels(), beta: channels(), runningMean: channels(), runningVariance: channels() });
const preprocessing = { shape: [2], dtype: "float32", scale: 1, mean: [0, 0], std: [1, 1] } as const;
const set = data.fromArrays({ inputs: new Float32Array(8), labels: Int32Array.of(0, 1, 0, 1), shape: [2] });
const pictures = data.fromArrays({ inputs: new Uint8Array(16), labels: Int32Array.of(0, 1), shape: [2, 2, 2] });
const model = new nn.Linear(2, 2, { device });
const raw = (one: lib.Tensor) => one;
const trainerOptions = () => ({
  model,
  optimizer: new lib.SGD(model.parameters(), { lr: 0.1 }),
  loss: nn.crossEntropy,
  data: set.batches({ size: 2 }),
  budget: 1,
});
const common = { budget: 4, maxLr: 1 };
const place = { device, seed: 0 };
const missing = () => join(folder(), "none");

/** Each call with valid options, to which the given ones are added. */
const calls: Record<string, (more: object) => unknown> = {
  "data.ArrayDataset.batches": (more) => set.batches({ size: 2, ...more }),
  "data.ArrayDataset.split": (more) => set.split({ validation: 0.5, ...more }),
  "data.BatchSource.from": (more) => set.batches({ size: 2 }).from(0, more).next(),
  "data.BatchSource.once": (more) => set.batches({ size: 2 }).once(more).next(),
  "data.TokenDataset.batches": async (more) => {
    const out = folder();
    const { writeFileSync } = await import("node:fs");
    writeFileSync(join(out, "text.txt"), "abc".repeat(50));
    writeFileSync(join(out, "ids"), new Uint8Array(200));
    const text = await data.tokens(join(out, "ids"), { context: 4, dtype: "uint16", vocabulary: 2 });
    return text.batches({ size: 2, ...more });
  },
  "data.cifar10": (more) => data.cifar10(missing(), more),
  "data.fashionMnist": (more) => data.fashionMnist({ dir: missing(), ...more }),
  "data.fromArrays": (more) => data.fromArrays({ inputs: [[1]], labels: [0], ...more }),
  "data.fromIterable": (more) => data.fromIterable([], more),
  "data.idx": (more) => data.idx(missing(), more),
  "data.csv": (more) => data.csv(missing(), { target: "y", ...more }),
  "data.parquet": (more) => data.parquet(missing(), { target: "y", ...more }),
  "data.images": (more) => data.images(missing(), more),
  "data.mnist": (more) => data.mnist({ split: "none" as never, ...more }),
  "data.tokenize": (more) => data.tokenize([missing()], { out: missing(), ...more }),
  "data.tokens": (more) => data.tokens(missing(), { context: 4, ...more }),
  "models.MLP": (more) => new models.MLP({ inputs: 2, classes: 2, ...place, ...more }),
  "models.Olmo": (more) =>
    new models.Olmo({ vocabulary: 4, context: 4, width: 4, layers: 1, heads: 1, hidden: 4, ...place, ...more }),
  "models.create": (more) => models.create({ kind: "mlp", inputs: 2, classes: 2 }, { device, ...more }),
  "models.mlp": (more) => models.mlp({ inputs: 2, classes: 2, ...place, ...more }),
  "models.olmo": (more) =>
    models.olmo({ vocabulary: 4, context: 4, width: 4, layers: 1, heads: 1, hidden: 4, ...place, ...more }),
  "models.resnet": (more) => models.resnet({ depth: 8, classes: 2, width: 1, ...place, ...more }),
  "models.resnet18": (more) => models.resnet18({ classes: 2, width: 1, ...place, ...more }),
  "models.resnet34": (more) => models.resnet34({ classes: 2, width: 1, ...place, ...more }),
  "models.resnet50": (more) => models.resnet50({ classes: 2, width: 1, ...place, ...more }),
  "nn.AveragePool2d": (more) => new nn.AveragePool2d({ size: 2, ...more }),
  "nn.BatchNorm": (more) => new nn.BatchNorm(2, { device, ...more }),
  "nn.Conv2d": (more) => new nn.Conv2d(2, 2, { device, ...more }),
  "nn.Dropout": (more) => new nn.Dropout(0.5, more),
  "nn.Embedding": (more) => new nn.Embedding(2, 2, { device, ...more }),
  "nn.LayerNorm": (more) => new nn.LayerNorm(2, { device, ...more }),
  "nn.Linear": (more) => new nn.Linear(2, 2, { device, ...more }),
  "nn.MaxPool2d": (more) => new nn.MaxPool2d({ size: 2, ...more }),
  "nn.Module.predict": (more) => model.predict([[1, 2]], more),
  "nn.Preparation": (more) => new nn.Preparation(model, { ...preprocessing, ...more }),
  "nn.Preprocessing": (more) => new nn.Preprocessing({ ...preprocessing, ...more }),
  "nn.Preprocessing.apply": (more) => new nn.Preprocessing(preprocessing).apply(rows, more),
  "nn.RMSNorm": (more) => new nn.RMSNorm(2, { device, ...more }),
  "ops.averagePool2d": (more) => ops.averagePool2d(x, { size: 2, ...more }),
  "ops.batchNorm": (more) => ops.batchNorm(x, state(), more),
  "ops.batchNormInference": (more) => ops.batchNormInference(x, state(), more),
  "ops.causalAttention": (more) => ops.causalAttention(heads, heads, heads, more),
  "ops.conv2d": (more) => ops.conv2d(x, ops.ones(device, [1, 1, 1, 2]), more),
  "nn.meanSquaredError": (more) => nn.meanSquaredError(rows, rows, more),
  "ops.binaryCrossEntropy": (more) => ops.binaryCrossEntropy(rows, rows, more),
  "ops.correctCount": (more) => ops.correctCount(rows, labels, more),
  "ops.crossEntropy": (more) => ops.crossEntropy(rows, labels, more),
  "ops.dropout": (more) => ops.dropout(x, { probability: 0.5, seed: 0, ...more }),
  "ops.layerNorm": (more) => ops.layerNorm(x, undefined, more),
  "ops.linear": (more) => ops.linear(rows, rows, more),
  "ops.matmul": (more) => ops.matmul(rows, rows, more),
  "ops.maxPool2d": (more) => ops.maxPool2d(x, { size: 2, ...more }),
  "ops.normal": (more) => ops.normal(device, [2], { seed: 0, ...more }),
  "ops.normalizeImages": (more) => ops.normalizeImages(x, { factor: channels(), offset: channels(), ...more }),
  "ops.rmsNorm": (more) => ops.rmsNorm(x, undefined, more),
  "ops.rotary": (more) => ops.rotary(heads, more),
  "ops.uniform": (more) => ops.uniform(device, [2], { seed: 0, ...more }),
  "schedule.joinSchedules": (more) => schedule.joinSchedules([schedule.constant(common)], more),
  "schedule.create": (more) => schedule.create("cosine", { ...common, ...more }),
  "stepsize.Lion": (more) => new lib.Lion(model.parameters(), { lr: 0.1, ...more }),
  "stepsize.SGD": (more) => new lib.SGD(model.parameters(), { lr: 0.1, ...more }),
  "stepsize.Trainer": (more) => new lib.Trainer({ ...trainerOptions(), ...more }),
  "stepsize.Trainer.evaluate": (more) => new lib.Trainer(trainerOptions()).evaluate(set.batches({ size: 2 }), more),
  "stepsize.Trainer.load": (more) => new lib.Trainer(trainerOptions()).load(missing(), more),
  "stepsize.Trainer.run": (more) => new lib.Trainer(trainerOptions()).run(more).next(),
  "stepsize.curvature": async (more) =>
    lib.curvature(model, await set.batches({ size: 4 }).at(0), { steps: 2, ...more }),
  "stepsize.findLearningRate": (more) =>
    lib.findLearningRate({
      model,
      optimizer: (rate) => new lib.SGD(model.parameters(), { lr: rate }),
      loss: nn.crossEntropy,
      data: set.batches({ size: 2 }),
      ...more,
    }),
  "stepsize.evaluate": (more) =>
    lib.evaluate(set.batches({ size: 2 }), { model, device, loss: nn.crossEntropy, prepare: raw, ...more }),
  "stepsize.exportOnnx": (more) => lib.exportOnnx(model, join(folder(), "model.onnx"), { shape: [2], ...more }),
  "stepsize.generate": (more) =>
    lib.generate({ model, prepare: raw, card: { text: { tokenizer: { kind: "bytes" }, context: 4 } } }, more),
  "stepsize.loadHuggingFace": (more) => lib.loadHuggingFace(missing(), { device, ...more }),
  "stepsize.loadModel": (more) => lib.loadModel(missing(), { device, ...more }),
  "stepsize.loadTorchState": (more) =>
    lib.loadTorchState(new lib.SGD(model.parameters(), { lr: 0.1 }), missing(), more),
  "stepsize.loadTorchWeights": (more) =>
    lib.loadTorchWeights(models.resnet({ depth: 8, classes: 2, width: 1, device }), missing(), more),
  "stepsize.loadWeights": (more) => lib.loadWeights(model, missing(), more),
  "stepsize.openDevice": async (more) => (await lib.openDevice("cpu", { threads: 1, ...more })).close(),
  "stepsize.spectrum": (more) => lib.spectrum((v) => v, Float64Array.of(1, 2), more),
  "stepsize.tensor": (more) => tensor(device, 1, [], more),
  "theory.minimax": (more) => theory.minimax({ curvature: [1, 10], budget: 4, ...more }),
  "theory.suggest": (more) => theory.suggest({ curvature: [1, 10], budget: 4, ...more }),
};
for (const name of [
  "constant",
  "cosine",
  "cosineRestarts",
  "cyclical",
  "exponential",
  "inverseSqrt",
  "linear",
  "oneCycle",
  "oneCycleMomentum",
  "oneMinusSqrt",
  "polynomial",
  "rex",
  "step",
  "uba",
  "warmupStableDecay",
] as const)
  calls[`schedule.${name}`] = (more) => schedule[name]({ ...common, ...more } as never);

/** Nested options, and options of calls that are inherited, overloaded or declared elsewhere. */
const inner: Record<string, (more: object) => unknown> = {
  "stepsize.Tensor.matmul": (more) => rows.matmul(rows, more),
  "stepsize.Adam": (more) => new lib.Adam(model.parameters(), { lr: 0.1, ...more }),
  "stepsize.AdamW": (more) => new lib.AdamW(model.parameters(), { lr: 0.1, ...more }),
  "stepsize.Optimizer.step": (more) => new lib.SGD([new Float32Array(1)], { lr: 1 }).step([new Float32Array(1)], more),
  "batches.augment": (more) => pictures.batches({ size: 1, augment: { flip: true, ...more } }),
  "a group of an optimizer": (more) =>
    new lib.AdamW(model.parameters(), { lr: 1, groups: [{ where: () => true, ...more }] }),
  "a trainer's card": (more) => new lib.Trainer({ ...trainerOptions(), card: { preprocessing, ...more } }),
  "the preprocessing of a card": (more) =>
    new lib.Trainer({ ...trainerOptions(), card: { preprocessing: { ...preprocessing, ...more } } }),
  "the text of a card": (more) =>
    new lib.Trainer({ ...trainerOptions(), card: { text: { tokenizer: { kind: "bytes" }, context: 1, ...more } } }),
  "a phase of uba": (more) => schedule.uba({ budget: 4, maxLr: 1, phases: [{ iterations: 4, ...more }] }),
  "a model's configuration": (more) => models.create({ kind: "mlp", inputs: 2, classes: 2, ...more }, { device }),
  "the gradient of an operation": (more) =>
    lib.withGradient(ops.ones(device, [1]), [], { gradient: () => [], ...more }),
  "schedule.fromJSON": (more) => schedule.fromJSON({ name: "cosine", ...common, ...more }),
};

/** The error that a call throws or that its promise rejects with. */
async function thrownBy(call: () => unknown): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  return undefined;
}

test("every public call that takes options is in the list", () => {
  expect(publicCalls().filter((name) => !(name in calls))).toEqual([]);
  expect(Object.keys(calls).filter((name) => !publicCalls().includes(name))).toEqual([]);
});

describe.each(Object.entries({ ...calls, ...inner }))("%s", (_, call) => {
  test("accepts its options", async () => {
    const error = await thrownBy(() => call({}));
    if (error !== undefined) expect(String(error)).not.toContain("expected only the options");
  });

  test.each(["unknownOption", "__proto", "size_"])("refuses %s and lists the names", async (name) => {
    const error = await thrownBy(() => call({ [name]: 1 }));
    expect(error).toMatchObject({ name: "StepsizeError", code: "invalid-argument" });
    expect(String(error)).toMatch(/: expected only the options \w+.*, got "/);
    expect(String(error)).toContain(`got "${name}"`);
  });

  test("accepts an unknown option that is undefined", async () => {
    const error = await thrownBy(() => call({ unknownOption: undefined }));
    if (error !== undefined) expect(String(error)).not.toContain("unknownOption");
  });
});
