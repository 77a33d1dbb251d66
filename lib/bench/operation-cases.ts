// The operations of a training step at the sizes of two models: resnet18 with batches of 512, and OLMo-36M with 16
// sequences of 1,024 tokens.
import type { DataType, Float32Products } from "../native/index.js";
import { elementCount } from "../shapes.js";
import { bytesOf, type Cost, type Family } from "./cost.js";
import type { IdDistribution } from "./ids.js";

/** A tensor to create: random numbers, or ids below a bound. */
export interface Input {
  readonly shape: readonly number[];
  readonly dtype: DataType;
  /** Bound of the ids; absent for random numbers. */
  readonly below?: number;
  /** Distribution of the ids. */
  readonly ids?: IdDistribution;
}

/** The groups of {@link operationCases}. */
export const operationGroups = [
  "products",
  "convolutions",
  "attention",
  "losses",
  "normalization",
  "embedding",
  "elements",
] as const;
export type OperationGroup = (typeof operationGroups)[number];

/** Sizes of the cases: those of the models, or sizes that a CPU and an emulated GPU process quickly. */
export type BenchSize = "full" | "small";

/** An operation to measure. */
export interface OperationCase extends Cost {
  readonly group: OperationGroup;
  readonly name: string;
  /** Name in the table of operations. */
  readonly operation: string;
  readonly inputs: readonly Input[];
  readonly attributes: Readonly<Record<string, number | boolean | string>>;
  /** How the device multiplies float32. Default `"float32"`. */
  readonly float32Products?: Float32Products;
  /** Name of the corresponding PyTorch operation in torch_peer.py; absent if there is none. */
  readonly torch?: string;
}

type Measured = Omit<OperationCase, "group" | "name" | "bytes" | "flops" | "attributes"> &
  Partial<Pick<OperationCase, "attributes" | "flops">> & {
    /** Results that the operation writes. */
    readonly outputs: readonly Input[];
    /** Bytes that are moved in addition, such as a second read; negative for inputs that are read in part. */
    readonly more?: number;
  };

const half = (...shape: number[]): Input => ({ shape, dtype: "bfloat16" });
const float = (...shape: number[]): Input => ({ shape, dtype: "float32" });
const idsBelow = (below: number, ids: IdDistribution, ...shape: number[]): Input => ({
  shape,
  dtype: "int32",
  below,
  ids,
});

/** Returns all cases in a fixed order. */
export function operationCases(size: BenchSize): OperationCase[] {
  const of = (full: number, small: number) => (size === "full" ? full : small);
  return [
    ...grouped("products", products(of)),
    ...grouped("convolutions", convolutions(of)),
    ...grouped("attention", attention(of)),
    ...grouped("losses", losses(of)),
    ...grouped("normalization", normalization(of)),
    ...grouped("embedding", embedding(of)),
    ...grouped("elements", elements(of)),
  ];
}

type Cases = Readonly<Record<string, Measured>>;
type Size = (full: number, small: number) => number;

function grouped(group: OperationGroup, cases: Cases): OperationCase[] {
  return Object.entries(cases).map(([name, { outputs, more = 0, attributes = {}, flops = 0, ...one }]) => ({
    group,
    name,
    attributes,
    flops,
    bytes: [...one.inputs, ...outputs].reduce((sum, tensor) => sum + bytesOf(tensor), more),
    ...one,
  }));
}

function products(of: Size): Cases {
  const square = (n: number, make = half, family: Family = "product"): Measured => ({
    operation: "matmul",
    family,
    inputs: [make(n, n), make(n, n)],
    outputs: [make(n, n)],
    flops: 2 * n ** 3,
    torch: "matmul",
  });
  const [rows, width, hidden] = [of(16_384, 64), of(384, 32), of(1280, 96)];
  // The output layer of a language model. Rows of 50,257 numbers begin at odd places.
  const head = (classes: number): Cases => {
    const [x, table, logits] = [half(rows, width), half(classes, width), half(rows, classes)];
    const flops = 2 * rows * width * classes;
    const shared = { operation: "matmul", family: "product", flops, torch: "matmul" } as const;
    const title = `output layer ${rows} × ${width} × ${classes}`;
    return {
      [title]: { ...shared, inputs: [x, table], outputs: [logits], attributes: { transposeB: true } },
      [`${title}, gradient of the input`]: { ...shared, inputs: [logits, table], outputs: [x] },
      [`${title}, gradient of the weights`]: {
        ...shared,
        inputs: [logits, x],
        outputs: [table],
        attributes: { transposeA: true },
      },
    };
  };
  const [n, large] = [of(4096, 64), of(8192, 96)];
  return {
    [`matmul ${n}³`]: square(n),
    [`matmul ${large}³`]: square(large),
    [`matmul ${n}³, float32`]: square(n, float, "float32 product"),
    [`matmul ${n}³, TF32`]: { ...square(n, float, "TF32 product"), float32Products: "tf32" },
    [`linear ${rows} × ${width} × ${hidden}, bias, GELU`]: {
      operation: "matmul",
      family: "product",
      inputs: [half(rows, width), half(hidden, width), half(hidden)],
      outputs: [half(rows, hidden)],
      attributes: { transposeB: true, bias: true, activation: "gelu" },
      flops: 2 * rows * width * hidden,
      torch: "linearGelu",
    },
    ...head(of(50_304, 304)),
    ...head(of(50_257, 301)),
  };
}

interface ConvolutionShape {
  readonly side: number;
  readonly channels: number;
  readonly outputs: number;
  readonly kernel: number;
  readonly stride: number;
}

function convolutions(of: Size): Cases {
  const batch = of(512, 2);
  const kind = (name: string, { side, channels, outputs, kernel, stride }: ConvolutionShape, make = half): Cases => {
    const isTf32 = make === float;
    const products = isTf32 && ({ float32Products: "tf32" } as const);
    const padding = (kernel - 1) / 2;
    const sideOut = Math.floor((side + 2 * padding - kernel) / stride) + 1;
    const images = make(batch, side, side, channels);
    const weights = make(outputs, kernel, kernel, channels);
    const results = make(batch, sideOut, sideOut, outputs);
    const flops = 2 * elementCount(results.shape) * kernel * kernel * channels;
    const window = { stride, padding };
    return {
      [name]: {
        operation: "conv2d",
        family: isTf32 ? "TF32 convolution" : "convolution",
        ...products,
        inputs: [images, weights],
        outputs: [results],
        attributes: window,
        flops,
        torch: "conv2d",
      },
      [`${name}, gradient of the images`]: {
        operation: "conv2dInputGradient",
        family: isTf32 ? "TF32 convolution" : "convolution, gradient of the images",
        ...products,
        inputs: [results, weights],
        outputs: [images],
        attributes: { ...window, height: side, width: side },
        flops,
        torch: "conv2dInputGradient",
      },
      [`${name}, gradient of the weights`]: {
        operation: "conv2dWeightGradient",
        family: isTf32 ? "TF32 convolution, gradient of the weights" : "convolution, gradient of the weights",
        ...products,
        inputs: [images, results],
        outputs: [weights],
        attributes: { ...window, height: kernel, width: kernel },
        flops,
        torch: "conv2dWeightGradient",
      },
    };
  };
  const [narrow, wide] = [of(64, 16), of(256, 32)];
  const plain = { side: of(56, 8), channels: narrow, outputs: narrow, kernel: 3, stride: 1 };
  return {
    ...kind("stem 7 × 7, 3 channels, stride 2", {
      side: of(224, 16),
      channels: 3,
      outputs: narrow,
      kernel: 7,
      stride: 2,
    }),
    ...kind(`conv2d 3 × 3, ${narrow} channels`, plain),
    ...kind(`conv2d 3 × 3, ${narrow} channels, TF32`, plain, float),
    ...kind(`conv2d 3 × 3, ${narrow} to ${2 * narrow} channels, stride 2`, {
      side: of(56, 8),
      channels: narrow,
      outputs: 2 * narrow,
      kernel: 3,
      stride: 2,
    }),
    ...kind(`conv2d 3 × 3, ${wide} channels`, {
      side: of(14, 4),
      channels: wide,
      outputs: wide,
      kernel: 3,
      stride: 1,
    }),
  };
}

function attention(of: Size): Cases {
  const [batch, length] = [of(16, 1), of(1024, 40)];
  const kind = (heads: number, head: number): Cases => {
    const part = half(batch, length, heads, head);
    const statistics = float(batch, heads, length);
    const attributes = { scale: 1 / Math.sqrt(head) };
    // Half of the pairs are masked.
    const pairs = (batch * heads * length * (length + 1)) / 2;
    const name = `attention, ${heads} heads of ${head}`;
    return {
      [name]: {
        operation: "attention",
        family: "attention",
        inputs: [part, part, part],
        outputs: [part, statistics, statistics],
        attributes,
        flops: 4 * head * pairs,
        torch: "attention",
      },
      [`${name}, gradient`]: {
        operation: "attentionGradient",
        family: "attention, gradient",
        inputs: [part, part, part, part, part, statistics, statistics],
        outputs: [part, part, part],
        attributes,
        flops: 10 * head * pairs,
        torch: "attentionGradient",
      },
    };
  };
  return { ...kind(of(6, 2), of(64, 16)), ...kind(of(8, 2), of(128, 32)) };
}

function losses(of: Size): Cases {
  const kind = (tokens: number, classes: number): Cases => {
    const [logits, labels] = [half(tokens, classes), idsBelow(classes, "uniform", tokens)];
    const statistics = float(tokens);
    return {
      [`cross-entropy, ${tokens} × ${classes}`]: {
        operation: "crossEntropy",
        family: "row statistics",
        inputs: [logits, labels],
        outputs: [statistics, float(), float(), float(), statistics, statistics],
        torch: "crossEntropy",
      },
      [`cross-entropy, ${tokens} × ${classes}, gradient`]: {
        operation: "crossEntropyGradient",
        family: "rows",
        inputs: [logits, labels, float(), statistics, statistics, float()],
        outputs: [logits],
        torch: "crossEntropyGradient",
      },
    };
  };
  const tokens = of(16_384, 64);
  // The vocabulary of GPT-NeoX, that of GPT-2, whose rows begin at odd places, and that of OLMo 2.
  return { ...kind(tokens, of(50_304, 304)), ...kind(tokens, of(50_257, 301)), ...kind(tokens / 2, of(100_278, 402)) };
}

function normalization(of: Size): Cases {
  const rowNorms = (rows: number, width: number): Cases => {
    const [x, factor, statistics] = [half(rows, width), half(width), float(rows)];
    const title = `${rows} × ${width}`;
    return {
      [`RMSNorm, ${title}`]: {
        operation: "rmsNorm",
        family: "rows",
        inputs: [x, factor],
        outputs: [x, statistics],
        torch: "rmsNorm",
      },
      [`RMSNorm, ${title}, gradient`]: {
        operation: "rmsNormGradient",
        family: "rows, with sums of columns",
        inputs: [x, x, statistics, factor],
        outputs: [x, factor],
        torch: "rmsNormGradient",
      },
      [`LayerNorm, ${title}`]: {
        operation: "layerNorm",
        family: "rows",
        inputs: [x, factor, factor],
        outputs: [x, statistics, statistics],
        torch: "layerNorm",
      },
      [`LayerNorm, ${title}, gradient`]: {
        operation: "layerNormGradient",
        family: "rows, with sums of columns",
        inputs: [x, x, statistics, statistics, factor],
        outputs: [x, factor, factor],
        torch: "layerNormGradient",
      },
    };
  };
  const [batch, side, channels] = [of(512, 2), of(56, 7), of(64, 16)];
  const [images, factor, statistics] = [half(batch, side, side, channels), half(channels), float(channels)];
  const before = half(batch, 2 * side, 2 * side, channels);
  const indices: Input = { shape: images.shape, dtype: "int32" };
  const pool = { size: 3, stride: 2, padding: 1 };
  return {
    ...rowNorms(of(16_384, 64), of(384, 48)),
    ...rowNorms(of(16_384, 64), of(4096, 96)),
    [`batch norm, ${images.shape.join(" × ")}`]: {
      operation: "batchNorm",
      family: "batch norm",
      inputs: [images, factor, factor, statistics, statistics],
      outputs: [images, statistics, statistics],
      // x is read once for the statistics and once for the normalization. The running statistics are written.
      more: bytesOf(images) + 2 * bytesOf(statistics),
      torch: "batchNorm",
    },
    [`batch norm, ${images.shape.join(" × ")}, gradient`]: {
      operation: "batchNormGradient",
      family: "batch norm",
      inputs: [images, images, factor, statistics, statistics],
      outputs: [images, factor, factor],
      // Both are read once for the sums and once for the gradient.
      more: 2 * bytesOf(images),
      torch: "batchNormGradient",
    },
    [`max pooling, ${before.shape.join(" × ")}`]: {
      operation: "maxPool2d",
      family: "windows",
      inputs: [before],
      outputs: [images, indices],
      attributes: pool,
      torch: "maxPool2d",
    },
    [`max pooling, ${before.shape.join(" × ")}, gradient`]: {
      operation: "maxPool2dGradient",
      family: "windows",
      inputs: [images, { ...indices, below: 1, ids: "uniform" }],
      outputs: [before],
      attributes: { ...pool, height: 2 * side, width: 2 * side },
      torch: "maxPool2dGradient",
    },
  };
}

function embedding(of: Size): Cases {
  const [batch, length, vocabulary, width] = [of(16, 1), of(1024, 40), of(50_304, 304), of(384, 32)];
  const kind = (ids: IdDistribution): Cases => {
    const tokens = idsBelow(vocabulary, ids, batch, length);
    const [table, rows] = [half(vocabulary, width), half(batch, length, width)];
    return {
      [`embedding, ${ids} ids`]: {
        operation: "embedding",
        family: "elements",
        inputs: [tokens, table],
        outputs: [rows],
        // Of the table only the selected rows are read.
        more: bytesOf(rows) - bytesOf(table),
        torch: "embedding",
      },
      [`embedding, ${ids} ids, gradient`]: {
        operation: "embeddingGradient",
        family: "embedding, gradient",
        inputs: [tokens, rows],
        outputs: [table],
        attributes: { rows: vocabulary },
        torch: "embeddingGradient",
      },
    };
  };
  return { ...kind("uniform"), ...kind("text") };
}

function elements(of: Size): Cases {
  const flat = half(of(1 << 26, 1 << 12));
  const flat32 = float(...flat.shape);
  const element = (
    operation: string,
    inputs: readonly Input[],
    outputs: readonly Input[],
    more: Partial<Measured> = {},
  ): Measured => ({ operation, family: "elements", inputs, outputs, torch: operation, ...more });
  const columns = half(of(16_384, 64), of(1280, 96));
  return {
    add: element("add", [flat, flat], [flat]),
    "add, float32": element("add", [flat32, flat32], [flat32]),
    "add, ReLU": element("addRelu", [flat, flat], [flat]),
    GELU: element("gelu", [flat], [flat]),
    "GELU, gradient": element("geluGradient", [flat, flat], [flat]),
    SwiGLU: element("swiglu", [flat, flat], [flat]),
    "SwiGLU, gradient": element("swigluGradient", [flat, flat, flat], [flat, flat]),
    "cast to float32": element("cast", [flat], [flat32], { attributes: { dtype: "float32" }, torch: "toFloat32" }),
    dropout: element("dropout", [flat], [flat], { attributes: { probability: 0.1, seed: 1 } }),
    rotary: element(
      "rotary",
      [half(of(16, 1), of(1024, 40), of(6, 2), of(64, 16))],
      [half(of(16, 1), of(1024, 40), of(6, 2), of(64, 16))],
      { torch: "rotary" },
    ),
    [`sum of ${columns.shape[0]} rows of ${columns.shape[1]}`]: element(
      "sum",
      [columns],
      [half(...columns.shape.slice(1))],
      { family: "sums of columns", attributes: { axis: 0, count: 1 }, torch: "sumOfRows" },
    ),
  };
}
