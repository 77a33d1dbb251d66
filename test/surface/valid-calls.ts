// A valid call of everything that the package exports. The tests derive wrong calls from these.
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  AdamW,
  type Device,
  data,
  type LearningRate,
  models,
  nn,
  openDevice,
  SGD,
  schedule,
  type Tensor,
  Trainer,
  tensor,
} from "#lib/index.js";

/** Objects and paths for the calls. */
export interface World {
  readonly device: Device;
  /** A folder for this purpose only. */
  readonly folder: string;
  readonly checkpoint: string;
  readonly texts: string;
  readonly table: string;
  readonly tokens: string;
}

export async function makeWorld(): Promise<World> {
  const device = await openDevice("cpu", { threads: 1 });
  const folder = await mkdtemp(join(tmpdir(), "stepsize-calls-"));
  const [checkpoint, texts, table, tokens] = ["a.safetensors", "text.txt", "table.csv", "tokens"].map((name) =>
    join(folder, name),
  ) as [string, string, string, string];
  await writeFile(table, ["x,y", ...Array.from({ length: 40 }, (_, i) => `${i},${i * i}`)].join("\n"));
  await writeFile(texts, "one two three four five six seven eight nine ten".repeat(20));
  await data.tokenize([texts], { out: tokens, validation: 0, test: 0 });
  const world = { device, folder, checkpoint, texts, table, tokens };
  await trainerOf(world).save(checkpoint);
  return world;
}

const table: data.TableEncoding = {
  columns: [{ kind: "number", name: "x", mean: 0, std: 1, indicator: false }],
  target: { kind: "class", name: "y", classes: ["a", "b"] },
  format: { decimal: ".", missing: [] },
};

const model = ({ device }: World) => models.mlp({ inputs: 4, hidden: [3], classes: 2, device });

const items = () =>
  data.fromArrays({
    inputs: Float32Array.from({ length: 80 }, (_, i) => i % 7),
    labels: Int32Array.from({ length: 20 }, (_, i) => i % 2),
    shape: [4],
  });

const images = () =>
  data.fromArrays({
    inputs: Uint8Array.from({ length: 20 * 16 }, (_, i) => i % 251),
    labels: Int32Array.from({ length: 20 }, (_, i) => i % 2),
    shape: [4, 4, 1],
  });

const lr = () => schedule.constant({ budget: 4, maxLr: 0.1 });

function trainerOf(world: World): Trainer {
  const net = model(world);
  return new Trainer({
    model: net,
    optimizer: new AdamW(net.parameters(), { lr: lr() }),
    loss: nn.crossEntropy,
    data: items().batches({ size: 4 }),
    card: { config: { kind: "mlp", inputs: 4, hidden: [3], classes: 2 } },
  });
}

const parameter = ({ device }: World) => {
  const one = tensor(device, [1, 2, 3], undefined, { requiresGrad: true });
  one.square().sum().backward();
  return one;
};

/** A call with its receiver, if any, and its arguments. Both are created anew for each call. */
export interface Call {
  readonly on?: ((world: World) => unknown) | undefined;
  readonly with: (world: World) => unknown[] | Promise<unknown[]>;
}

const call = (make: Call["with"]): Call => ({ with: make });
const on = (made: Call["on"], make: Call["with"] = () => []): Call => ({ on: made, with: make });

const x = ({ device }: World, shape: readonly number[] = [2, 3]) =>
  tensor(device, new Float32Array(shape.reduce((product, size) => product * size, 1)).fill(1.5), shape);
const ids = ({ device }: World, ...values: number[]) => tensor(device, Int32Array.from(values));
const one = call((w) => [x(w)]);
const two = call((w) => [x(w), x(w)]);
const rates = { budget: 10, maxLr: 0.1 };
const rated = call(() => [{ ...rates, minLr: 0.01, warmup: 2 }]);
const place = (w: World) => ({ device: w.device, seeds: 1 });
const image = (w: World) => x(w, [1, 4, 4, 2]);
const norms = (w: World) => ({
  gamma: x(w, [3]),
  beta: x(w, [3]),
  runningMean: x(w, [3]),
  runningVariance: x(w, [3]),
});
const onTensor = (make: Call["with"] = () => []) => on((w) => x(w), make);
const onModel = (make: Call["with"] = () => []) => on(model, make);
const optimizer = (w: World) => new AdamW([parameter(w)], { lr: 0.1 });
const onOptimizer = (make: Call["with"] = () => []) => on(optimizer, make);
const forward = (layer: (w: World) => unknown, input: (w: World) => unknown) => on(layer, (w) => [input(w)]);
const resnetOptions = ({ device }: World) => ({ classes: 2, channels: 1, width: 2, stem: "cifar", device, seed: 1 });
const textModel = (w: World) => ({
  model: models.olmo({ ...olmoOptions(w), vocabulary: 257 }),
  prepare: (raw: Tensor) => raw,
  card: { text: { tokenizer: { kind: "bytes" }, context: 4 } },
});
const olmoOptions = ({ device }: World) => ({
  vocabulary: 5,
  context: 4,
  width: 4,
  layers: 1,
  heads: 1,
  hidden: 4,
  device,
  seed: 1,
});
const optimizerOptions = { weightDecay: 0.01, clipNorm: 1, nonFinite: "skip", gradientScale: 1, seed: 3 };
const torchState = (w: World) =>
  new Map([
    ["0.exp_avg", x(w, [3])],
    ["0.exp_avg_sq", x(w, [3])],
    ["0.step", tensor(w.device, [2])],
  ]);

/** By path in the package, or by class and method. The name of a class stands for its constructor. */
export const validCalls: Readonly<Record<string, Call>> = {
  "DatasetBatches#at": on(
    () => items().batches({ size: 2 }),
    () => [1],
  ),
  "DatasetBatches#from": on(
    () => items().batches({ size: 2 }),
    () => [1],
  ),
  "DatasetBatches#once": on(() => items().batches({ size: 2 })),
  "DatasetBatches#toJSON": on(() => items().batches({ size: 2 })),
  "DatasetBatches#close": on(() => items().batches({ size: 2 })),
  "IterableBatches#at": on(given, () => [1]),
  "IterableBatches#from": on(given, () => [1]),
  "IterableBatches#once": on(given),
  "IterableBatches#toJSON": on(given),
  "IterableBatches#close": on(given),
  "TokenBatches#at": on(text, () => [1]),
  "TokenBatches#from": on(text, () => [1]),
  "TokenBatches#once": on(text),
  "TokenBatches#toJSON": on(text),
  "TokenBatches#close": on(text),

  adamPreconditioner: call((w) => {
    const made = optimizer(w);
    made.step();
    return [made];
  }),
  backward: call((w) => [parameter(w).sum()]),
  curvature: call(async (w) => [model(w), await items().batches({ size: 8 }).at(0), { steps: 3 }]),
  generate: call((w) => [textModel(w), { tokens: 2 }]),
  evaluate: call((w) => [
    items().batches({ size: 5 }),
    { model: model(w), device: w.device, loss: nn.crossEntropy, prepare: (raw: Tensor) => raw },
  ]),
  findLearningRate: call((w) => {
    const net = model(w);
    return [
      {
        model: net,
        optimizer: (rate: LearningRate) => new SGD(net.parameters(), { lr: rate }),
        loss: nn.crossEntropy,
        data: items().batches({ size: 4 }),
        accumulate: 1,
        from: 1e-3,
        to: 1,
        steps: 20,
        onStep: () => {},
        signal: new AbortController().signal,
      },
    ];
  }),
  exportOnnx: call((w) => [
    model(w),
    join(w.folder, "model.onnx"),
    {
      shape: [4],
      dtype: "float32",
      preprocessing: { shape: [4], dtype: "float32", scale: 1, mean: [0, 0, 0, 0], std: [1, 1, 1, 1] },
      metadata: { author: "me" },
    },
  ]),
  listDevices: call(() => []),
  loadModel: call((w) => [w.checkpoint, { device: w.device }]),
  loadTorchWeights: call((w) => [
    models.resnet({ depth: 8, classes: 2, channels: 1, width: 2, device: w.device }),
    w.checkpoint,
    { classifier: "load" },
  ]),
  loadHuggingFace: call((w) => [w.folder, { device: w.device }]),
  loadTorchState: call((w) => [optimizer(w), w.checkpoint, { steps: 2 }]),
  readSafetensors: call((w) => [w.checkpoint]),
  saveTorchState: call((w) => {
    const made = optimizer(w);
    made.step();
    return [made, join(w.folder, "state.safetensors")];
  }),
  saveTorchWeights: call((w) => [model(w), join(w.folder, "weights.safetensors")]),
  toTorchWeights: call((w) => [model(w)]),
  writeSafetensors: call((w) => [
    join(w.folder, "written.safetensors"),
    new Map([["x", { dtype: "float32", shape: [1], data: new Float32Array(1) }]]),
    {},
  ]),
  loadWeights: call((w) => [model(w), w.checkpoint, { classifier: "load" }]),
  massBounds: call(() => [{ diagonal: [1, 2], offDiagonal: [0.5], next: 0.1 }, 1.5]),
  noGrad: call(() => [() => 1]),
  openDevice: call(() => ["cpu", { threads: 1, memoryLimit: 1e6, instructionSet: "portable" }]),
  readCheckpoint: call((w) => [w.checkpoint]),
  spectrum: call(() => [(v: Float64Array) => v.map((value, i) => value * (i + 1)), Float64Array.of(1, 1, 1), {}]),
  StepsizeError: call(() => ["unsupported", "a message", {}]),

  Device: call(() => []),
  "Device#synchronize": on(({ device }) => device),
  "Device#capture": on(
    ({ device }) => device,
    () => [() => {}],
  ),
  "Device#time": on(
    ({ device }) => device,
    () => [() => {}],
  ),
  "Device#waitForEvent": on(
    ({ device }) => device,
    () => [1n],
  ),
  "Device#recordEvent": on(({ device }) => device),
  "Device#memory": on(({ device }) => device),
  "Device#trim": on(({ device }) => device),
  "Device#describe": on(({ device }) => device),
  "Device#close": on(() => openDevice("cpu")),
  "Capture#replay": on(
    ({ device }) => device.capture(() => {}),
    () => [2],
  ),
  "Capture#dispose": on(({ device }) => device.capture(() => {})),

  "Tensor#read": onTensor(),
  "Tensor#hasType": onTensor(() => ["float32"]),
  "Tensor#item": on((w) => x(w, [])),
  "Tensor#write": onTensor(() => [new Float32Array(6)]),
  "Tensor#to": onTensor(({ device }) => [device]),
  "Tensor#zeroGrad": onTensor(),
  "Tensor#dispose": onTensor(),
  "Tensor#keep": onTensor(),
  "Tensor#detach": onTensor(),
  "Tensor#toString": onTensor(),
  "Tensor#add": onTensor((w) => [x(w)]),
  "Tensor#subtract": onTensor((w) => [x(w)]),
  "Tensor#multiply": onTensor((w) => [x(w)]),
  "Tensor#divide": onTensor((w) => [x(w)]),
  "Tensor#cast": onTensor(() => ["int32"]),
  "Tensor#reshape": onTensor(() => [[3, 2]]),
  "Tensor#sum": onTensor(() => [[0, 1]]),
  "Tensor#mean": onTensor(() => [1]),
  "Tensor#matmul": onTensor((w) => [x(w, [3, 2]), { transposeA: false, transposeB: false }]),
  "Tensor#backward": on((w) => parameter(w).sum()),
  ...Object.fromEntries(
    ["negate", "exp", "log", "sqrt", "square", "tanh", "sigmoid", "relu", "gelu", "silu", "argmax", "logSoftmax"].map(
      (name) => [`Tensor#${name}`, onTensor()],
    ),
  ),

  Adam: call((w) => [[parameter(w)], { lr: 0.1, betas: [0.9, 0.99], amsgrad: true, ...optimizerOptions }]),
  AdamW: call((w) => [
    [parameter(w)],
    { lr: lr(), epsilon: 1e-8, maximize: false, groups: [{ where: () => true, lr: 1 }], ...optimizerOptions },
  ]),
  Lion: call((w) => [[parameter(w)], { lr: 0.1, betas: [0.9, 0.99], ...optimizerOptions }]),
  SGD: call((w) => [[parameter(w)], { lr: 0.1, momentum: 0.9, dampening: 0, nesterov: true, ...optimizerOptions }]),
  "Optimizer#learningRates": onOptimizer(),
  "Optimizer#step": onOptimizer(() => [{ gradientScale: 1 }]),
  "Optimizer#tabulate": onOptimizer(() => [3]),
  "Optimizer#zeroGrad": onOptimizer(),
  "Optimizer#stats": onOptimizer(),
  "Optimizer#stateDict": onOptimizer(),
  "Optimizer#loadStateDict": on(optimizer, (w) => [optimizer(w).stateDict()]),
  "Optimizer#loadTorchState": on(optimizer, (w) => [torchState(w), 2]),
  "Optimizer#toTorchState": onOptimizer(),
  "Optimizer#toJSON": onOptimizer(),
  "Optimizer#dispose": onOptimizer(),

  Trainer: call((w) => {
    const net = model(w);
    return [
      {
        model: net,
        optimizer: new SGD(net.parameters(), { lr: lr() }),
        loss: nn.crossEntropy,
        data: items().batches({ size: 4 }),
        budget: 3,
        accumulate: 1,
      },
    ];
  }),
  "Trainer#stop": on(trainerOf),
  "Trainer#run": on(trainerOf, () => [{ until: 2, capture: false, signal: new AbortController().signal }]),
  "Trainer#evaluate": on(trainerOf, () => [items().batches({ size: 5 }), { onProgress: () => {} }]),
  "Trainer#save": on(trainerOf, (w) => [join(w.folder, "saved.safetensors")]),
  "Trainer#load": on(trainerOf, (w) => [w.checkpoint, { allow: ["schedule"] }]),
  "Trainer#dispose": on(trainerOf),

  "data.ArrayDataset": call(() => []),
  "data.ArrayDataset#split": on(items, () => [{ validation: 0.5, seed: 1 }]),
  "data.ArrayDataset#subset": on(items, () => [[0, 3]]),
  "data.ArrayDataset#batches": on(images, () => [{ size: 4, shuffle: true, seed: 1, augment: { pad: 1, flip: true } }]),
  "data.ArrayDataset#statistics": on(items),
  "data.ArrayDataset#preprocessing": on(items),
  "data.TokenDataset": call(() => []),
  "data.TokenDataset#batches": on(
    (w) => data.tokens(w.tokens, { context: 4 }),
    () => [{ size: 2, seed: 1 }],
  ),
  "data.cifar10": call((w) => [w.folder, { split: "train" }]),
  "data.fashionMnist": call((w) => [{ split: "test", dir: w.folder }]),
  "data.fromArrays": call(() => [{ inputs: new Float32Array(8), labels: Int32Array.of(0, 1), shape: [4] }]),
  "data.fromIterable": call(() => [[], { size: 2, batchesPerEpoch: 3, name: "mine" }]),
  "data.idx": call((w) => [w.folder, { split: "test", classes: 10, name: "mine" }]),
  "data.csv": call((w) => [w.table, { target: "y", test: 0.5 }]),
  "data.parquet": call((w) => [w.texts, { target: "y" }]),
  "data.encodeRows": call(() => [table, [{ x: 1 }]]),
  "data.decodeOutputs": call(() => [table, new Float32Array(2)]),
  "data.images": call((w) => [w.folder, { split: "test", size: 8, fit: "crop" }]),
  "data.mnist": call(() => [{ split: "test" }]),
  "data.readIdx": call((w) => [w.texts]),
  "data.readTokenFolder": call((w) => [w.tokens]),
  "data.readTokenizer": call((w) => [w.folder]),
  "data.specOf": call(() => ["bytes"]),
  "data.tokenize": call((w) => [
    [w.texts],
    { out: join(w.folder, `tokens-${Math.random()}`), validation: 0, test: 0, seed: 1, name: "mine" },
  ]),
  "data.tokenizerName": call(() => [{ kind: "bytes" }]),
  "data.tokenizerOf": call(() => [{ kind: "bytes" }]),
  "data.tokens": call((w) => [w.tokens, { context: 4, split: "train" }]),

  "models.MLP": call((w) => [{ inputs: 4, hidden: [3], classes: 2, device: w.device, seed: 1 }]),
  "models.Olmo": call((w) => [olmoOptions(w)]),
  "models.ResNet": call(() => []),
  "models.configOf": call(() => ["resnet8", [28, 28, 1], 10]),
  "models.create": call((w) => [
    { kind: "mlp", inputs: 4, hidden: [3], classes: 2 },
    { device: w.device, seed: 1 },
  ]),
  "models.mlp": call((w) => [{ inputs: 4, hidden: [3], classes: 2, device: w.device, seed: 1 }]),
  "models.olmo": call((w) => [olmoOptions(w)]),
  "models.resnet": call((w) => [{ depth: 8, classes: 2, channels: 1, width: 2, device: w.device, seed: 1 }]),
  "models.resnet18": call((w) => [resnetOptions(w)]),
  "models.resnet34": call((w) => [resnetOptions(w)]),
  "models.resnet50": call((w) => [resnetOptions(w)]),
  "models.MLP#forward": on(model, (w) => [x(w, [2, 4])]),
  "models.Olmo#forward": on(
    (w) => models.olmo(olmoOptions(w)),
    (w) => [tensor(w.device, Int32Array.of(1, 2), [1, 2])],
  ),
  "models.ResNet#forward": on(
    (w) => models.resnet18(resnetOptions(w) as never),
    (w) => [x(w, [2, 16, 16, 1])],
  ),
  "models.ResNet#torchNames": on((w) => models.resnet18(resnetOptions(w) as never)),

  "nn.AveragePool2d": call(() => [{ size: 2, stride: 2, padding: 0 }]),
  "nn.BatchNorm": call((w) => [3, { device: w.device, momentum: 0.1, epsilon: 1e-5 }]),
  "nn.Buffer": one,
  "nn.Conv2d": call((w) => [2, 3, { kernel: 3, stride: 1, padding: 1, bias: true, ...place(w) }]),
  "nn.Dropout": call(() => [0.5, { seeds: 1 }]),
  "nn.Embedding": call((w) => [5, 3, place(w)]),
  "nn.Flatten": call(() => []),
  "nn.GELU": call(() => []),
  "nn.GlobalAveragePool": call(() => []),
  "nn.LayerNorm": call((w) => [3, { device: w.device, learned: true, epsilon: 1e-5 }]),
  "nn.Linear": call((w) => [3, 2, { bias: true, activation: "relu", deviation: 0.1, ...place(w) }]),
  "nn.MaxPool2d": call(() => [{ size: 2, stride: 2, padding: 0 }]),
  "nn.Parameter": one,
  "nn.Preparation": call((w) => [
    model(w),
    { shape: [4], dtype: "float32", scale: 1, mean: [0, 0, 0, 0], std: [1, 1, 1, 1] },
  ]),
  "nn.Preprocessing": call(() => [{ shape: [2], dtype: "float32", scale: 1, mean: [0, 0], std: [1, 1] }]),
  "nn.RMSNorm": call((w) => [3, { device: w.device, learned: true, epsilon: 1e-5 }]),
  "nn.ReLU": call(() => []),
  "nn.Seeds": call(() => [3]),
  "nn.Sequential": call((w) => [new nn.Linear(3, 2, place(w)), new nn.ReLU()]),
  "nn.SiLU": call(() => []),
  "nn.AveragePool2d#forward": forward(() => new nn.AveragePool2d({ size: 2 }), image),
  "nn.BatchNorm#forward": on(
    (w) => new nn.BatchNorm(3, place(w)),
    (w) => [x(w), "relu"],
  ),
  "nn.Conv2d#forward": forward((w) => new nn.Conv2d(2, 3, place(w)), image),
  "nn.Dropout#forward": forward(() => new nn.Dropout(0.5), x),
  "nn.Embedding#forward": forward(
    (w) => new nn.Embedding(5, 3, place(w)),
    (w) => ids(w, 1, 2),
  ),
  "nn.Flatten#forward": forward(() => new nn.Flatten(), image),
  "nn.GELU#forward": forward(() => new nn.GELU(), x),
  "nn.GlobalAveragePool#forward": forward(() => new nn.GlobalAveragePool(), image),
  "nn.LayerNorm#forward": forward((w) => new nn.LayerNorm(3, place(w)), x),
  "nn.Linear#forward": on(
    (w) => new nn.Linear(3, 2, place(w)),
    (w) => [x(w), x(w, [2, 2])],
  ),
  "nn.MaxPool2d#forward": forward(() => new nn.MaxPool2d({ size: 2 }), image),
  "nn.RMSNorm#forward": forward((w) => new nn.RMSNorm(3, place(w)), x),
  "nn.ReLU#forward": forward(() => new nn.ReLU(), x),
  "nn.Sequential#forward": forward((w) => new nn.Sequential(new nn.Linear(3, 2, place(w))), x),
  "nn.SiLU#forward": forward(() => new nn.SiLU(), x),
  "nn.Module#namedParameters": onModel(),
  "nn.Module#parameters": onModel(),
  "nn.Module#predict": onModel(() => [
    new Float32Array(8),
    { shape: [4], size: 1, prepare: (raw: Tensor) => raw, signal: new AbortController().signal },
  ]),
  "nn.Module#modules": onModel(),
  "nn.Module#namedModules": onModel(),
  "nn.Module#torchNames": onModel(),
  "nn.BatchNorm#torchNames": on((w) => new nn.BatchNorm(3, place(w))),
  "nn.Module#train": onModel(() => [true]),
  "nn.Module#eval": onModel(),
  "nn.Module#freeze": onModel(() => [true]),
  "nn.Module#setPrecision": onModel(() => ["bf16"]),
  "nn.Module#zeroGrad": onModel(),
  "nn.Module#stateDict": onModel(),
  "nn.Module#loadStateDict": on(model, (w) => [model(w).stateDict()]),
  "nn.Module#counters": onModel(),
  "nn.Module#loadCounters": onModel(() => [{}]),
  "nn.Module#dispose": onModel(),
  "nn.Preparation#apply": on(
    (w) => new nn.Preparation(model(w)),
    (w) => [x(w, [2, 4])],
  ),
  "nn.Preparation#dispose": on((w) => new nn.Preparation(model(w))),
  "nn.Preprocessing#apply": on(
    () => preprocessing(),
    (w) => [x(w, [1, 2, 2, 1]), { dtype: "float32" }],
  ),
  "nn.Preprocessing#dispose": on(() => preprocessing()),
  "nn.Preprocessing#toJSON": on(() => preprocessing()),
  "nn.Seeds#next": on(() => new nn.Seeds(1)),
  "nn.crossEntropy": call((w) => [x(w), ids(w, 0, 2), { smoothing: 0.1 }]),
  "nn.binaryCrossEntropy": call((w) => [x(w), x(w), { reduction: "mean" }]),
  "nn.weightOf": call((w) => [nn.crossEntropy(x(w), ids(w, 0, 2))]),
  "nn.weightedMean": call((w) => [x(w), tensor(w.device, [1, 2])]),
  "nn.withWeight": call((w) => [x(w).sum(), 2]),
  "nn.fanInUniform": call((w) => [w.device, [2, 3], new nn.Seeds(1), 3]),
  "nn.kaimingNormal": call((w) => [w.device, [2, 3], new nn.Seeds(1), "fanIn"]),
  "nn.meanSquaredError": two,

  "ops.affine": call((w) => [x(w), 2, 1]),
  ...Object.fromEntries(
    ["add", "addRelu", "subtract", "multiply", "divide", "copy", "swiglu"].map((name) => [`ops.${name}`, two]),
  ),
  ...Object.fromEntries(
    ["argmax", "exp", "gelu", "log", "logSoftmax", "negate", "relu", "sigmoid", "silu", "sqrt", "square", "tanh"].map(
      (name) => [`ops.${name}`, one],
    ),
  ),
  "ops.asType": call((w) => [x(w), "bfloat16"]),
  "ops.averagePool2d": call((w) => [image(w), { size: 2, stride: 1, padding: 1 }]),
  "ops.maxPool2d": call((w) => [image(w), { size: 2, stride: 1, padding: 1 }]),
  "ops.batchNorm": call((w) => [x(w), norms(w), { momentum: 0.1, epsilon: 1e-5, activation: "relu" }]),
  "ops.batchNormInference": call((w) => [x(w), norms(w), { epsilon: 1e-5, activation: "relu" }]),
  "ops.cast": call((w) => [x(w), "int32"]),
  "ops.causalAttention": call((w) => [x(w, [1, 2, 1, 4]), x(w, [1, 2, 1, 4]), x(w, [1, 2, 1, 4]), { scale: 1 }]),
  "ops.conv2d": call((w) => [image(w), x(w, [3, 3, 3, 2]), { stride: 1, padding: 1 }]),
  "ops.correctCount": call((w) => [x(w), ids(w, 0, 2)]),
  "ops.dropout": call((w) => [x(w), { probability: 0.5, seed: 1, stream: 2, calls: tensor(w.device, 1) }]),
  "ops.embedding": call((w) => [ids(w, 0, 1), x(w)]),
  "ops.fill": call((w) => [x(w), 2]),
  "ops.full": call((w) => [w.device, [2, 3], 1, "float32"]),
  "ops.layerNorm": call((w) => [x(w), { gamma: x(w, [3]), beta: x(w, [3]) }, { epsilon: 1e-5 }]),
  "ops.linear": call((w) => [x(w), x(w, [2, 3]), { bias: x(w, [2]), activation: "relu", residual: x(w, [2, 2]) }]),
  "ops.matmul": call((w) => [x(w), x(w), { transposeA: false, transposeB: true }]),
  "ops.mean": call((w) => [x(w), [0, 1]]),
  "ops.sum": call((w) => [x(w), [0, 1]]),
  "ops.normal": call((w) => [w.device, [2], { mean: 0, deviation: 1, seed: 1, stream: 1 }]),
  "ops.uniform": call((w) => [w.device, [2], { low: 0, high: 1, seed: 1, stream: 1 }]),
  "ops.normalizeImages": call((w) => [image(w), { factor: x(w, [2]), offset: x(w, [2]), dtype: "float32" }]),
  "ops.ones": call((w) => [w.device, [2], "float32"]),
  "ops.zeros": call((w) => [w.device, [2], "float32"]),
  "ops.reshape": call((w) => [x(w), [3, -1]]),
  "ops.rmsNorm": call((w) => [x(w), x(w, [3]), { epsilon: 1e-5 }]),
  "ops.rotary": call((w) => [x(w, [1, 2, 1, 4]), { base: 100 }]),
  tensor: call((w) => [w.device, [1, 2], [2, 1], { dtype: "float32", requiresGrad: true }]),
  tidy: call(() => [() => 1]),
  withGradient: call((w) => [x(w), [parameter(w)], { saves: [], gradient: () => [undefined] }]),

  ...Object.fromEntries(["constant", "cosine", "linear", "rex"].map((name) => [`schedule.${name}`, rated])),
  "schedule.cosineRestarts": call(() => [{ ...rates, firstPeriod: 3 }]),
  "schedule.create": call(() => ["cosine", { ...rates }]),
  "schedule.cyclical": call(() => [{ ...rates, period: 4 }]),
  "schedule.exponential": call(() => [{ ...rates, endLr: 0.01 }]),
  "schedule.fromJSON": call(() => [{ name: "cosine", ...rates }]),
  "schedule.inverseSqrt": call(() => [{ ...rates, riseSteps: 2 }]),
  "schedule.joinSchedules": call(() => [
    [schedule.constant({ budget: 2, maxLr: 0.1 }), schedule.cosine(rates)],
    { boundaries: [2] },
  ]),
  "schedule.oneCycleMomentum": call(() => [{ ...rates }]),
  "schedule.oneMinusSqrt": call(() => [{ ...rates }]),
  "schedule.oneCycle": call(() => [{ ...rates }]),
  "schedule.polynomial": call(() => [{ ...rates, power: 2 }]),
  "schedule.step": call(() => [{ ...rates, gamma: 0.5 }]),
  "schedule.tabulate": call(() => [schedule.cosine(rates)]),
  "schedule.uba": call(() => [{ ...rates, phi: 2 }]),
  "schedule.ubaFactor": call(() => [1, 10, 2]),
  "schedule.warmupStableDecay": call(() => [{ ...rates, cooldownSteps: 3 }]),
  "theory.contraction": call(() => [[0.1, 0.2], 1]),
  "theory.decreasing": call(() => [[0.1, 0.2]]),
  "theory.lebedevFinogenov": call(() => [[0.1, 0.2]]),
  "theory.leja": call(() => [[0.1, 0.2]]),
  "theory.minimax": call(() => [{ curvature: [0.1, 1], budget: 4, maxLr: 5, minLr: 0 }]),
  "theory.roundingGrowth": call(() => [
    [0.1, 0.2],
    [0.1, 1],
  ]),
  "theory.suggest": call(() => [{ curvature: [0.1, 1], budget: 4, maxLr: 5, minLr: 0 }]),
  "theory.worstCase": call(() => [
    [0.1, 0.2],
    [0.1, 1],
  ]),
};

/** Objects of classes that the package does not export but that its functions return. */
export async function returned(world: World): Promise<Readonly<Record<string, object>>> {
  return {
    Capture: world.device.capture(() => {}),
    DatasetBatches: items().batches({ size: 2 }),
    IterableBatches: given(),
    TokenBatches: await text(world),
  };
}

function given() {
  const batch = { inputs: { data: new Float32Array(4), shape: [2, 2] }, labels: Int32Array.of(0, 1) };
  return data.fromIterable(() => [batch, batch, batch]);
}

async function text(world: World) {
  return (await data.tokens(world.tokens, { context: 4 })).batches({ size: 2 });
}

function preprocessing() {
  return new nn.Preprocessing({ shape: [2, 2, 1], dtype: "float32", scale: 1, mean: [0], std: [1] });
}

/** Calls for which this machine may have no valid arguments. They may throw a StepsizeError. */
export const failing: ReadonlySet<string> = new Set([
  // The checkpoint belongs to another model.
  "loadTorchWeights",
  "loadTorchState",
  "data.readTokenizer",
  "loadHuggingFace",
  "data.cifar10",
  "data.fashionMnist",
  "data.idx",
  "data.images",
  "data.mnist",
  "data.parquet",
  "data.readIdx",
  // Supported by CUDA only.
  "Device#waitForEvent",
  "Device#recordEvent",
]);

/**
 * Internal parts of the package, according to its TSDoc: classes that only it constructs, protected methods, internal
 * functions.
 */
export const internal: ReadonlySet<string> = new Set([
  "Optimizer",
  "Device",
  "Device#enqueue",
  "Device#promised",
  "Tensor",
  "nn.Module",
  "models.ResNet",
  "data.ArrayDataset",
  "data.TokenDataset",
  "nn.Parameter#retype",
  "nn.Module#checkStateDict",
  ...["Module", "BatchNorm", "LayerNorm", "RMSNorm", "Sequential"].map((name) => `nn.${name}#torchName`),
  ...["Olmo", "ResNet"].map((name) => `models.${name}#torchName`),
  "Optimizer#statsOf",
  "Trainer#loadOpen",
  "Optimizer#checkStateDict",
  "Optimizer#fillState",
  "Optimizer#fillTorchState",
  "Optimizer#torchStateParts",
  "Capture",
  "DatasetBatches",
  "IterableBatches",
  "TokenBatches",
  "Capture#onReplay",
  "Capture#refuse",
  "Capture#expectWhole",
  "Capture#end",
  ...["Adam", "AdamBase", "AdamW", "Lion", "SGD"].flatMap((name) => [`${name}#validate`, `${name}#hyper`]),
]);
