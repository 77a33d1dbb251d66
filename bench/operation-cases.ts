// The operations of a training step at the sizes of two models: resnet18 with batches of 512, and OLMo-36M with 16
// sequences of 1,024 tokens. The work of a case is what it must move or compute. Reads that a cache serves are not
// counted.
import { elementCount } from "#lib/shapes.js";

/** A tensor to create: random numbers, or integers below a bound. */
export interface Input {
  readonly shape: readonly number[];
  readonly dtype: "float32" | "bfloat16" | "int32";
  readonly below?: number;
}

export interface Case {
  readonly name: string;
  /** Name in the table of operations. */
  readonly operation: string;
  readonly inputs: readonly Input[];
  readonly attributes: Readonly<Record<string, number | boolean | string>>;
  readonly work: { readonly amount: number; readonly unit: "GB/s" | "TFLOP/s" };
  /** Name of the corresponding PyTorch operation in torch_peer.py. */
  readonly torch?: string;
}

/** @param small whether to use sizes that a CPU processes quickly */
export function operationCases(small: boolean): Case[] {
  const size = (full: number, little: number) => (small ? little : full);
  const of = (...shape: number[]): Input => ({ shape, dtype: "bfloat16" });
  const wide = (...shape: number[]): Input => ({ shape, dtype: "float32" });
  const below = (bound: number, ...shape: number[]): Input => ({ shape, dtype: "int32", below: bound });
  const bytes = (inputs: readonly Input[], more: number) =>
    inputs.reduce((sum, { shape, dtype }) => sum + elementCount(shape) * (dtype === "bfloat16" ? 2 : 4), 0) + more;

  const products = (): Case[] => {
    const n = size(4096, 64);
    const [batch, side, channels] = [size(512, 1), size(56, 8), size(64, 16)];
    const image = of(batch, side, side, channels);
    const weights = of(channels, 3, 3, channels);
    const convolution = { amount: 2 * elementCount(image.shape) * 9 * channels, unit: "TFLOP/s" } as const;
    const window = { stride: 1, padding: 1 };
    const rows = size(16_384, 64);
    const [width, hidden] = [size(384, 32), size(1280, 96)];
    return [
      {
        name: `matmul ${n}³`,
        operation: "matmul",
        inputs: [of(n, n), of(n, n)],
        attributes: {},
        work: { amount: 2 * n ** 3, unit: "TFLOP/s" },
        torch: "matmul",
      },
      {
        name: `matmul ${n}³ float32`,
        operation: "matmul",
        inputs: [wide(n, n), wide(n, n)],
        attributes: {},
        work: { amount: 2 * n ** 3, unit: "TFLOP/s" },
        torch: "matmul",
      },
      {
        name: `linear ${rows} × ${width} × ${hidden}, bias, GELU`,
        operation: "matmul",
        inputs: [of(rows, width), of(hidden, width), of(hidden)],
        attributes: { transposeB: true, bias: true, activation: "gelu" },
        work: { amount: 2 * rows * width * hidden, unit: "TFLOP/s" },
        torch: "linearGelu",
      },
      {
        name: `conv2d 3 × 3 of [${image.shape}]`,
        operation: "conv2d",
        inputs: [image, weights],
        attributes: window,
        work: convolution,
        torch: "conv2d",
      },
      {
        name: "its input's gradient",
        operation: "conv2dInputGradient",
        inputs: [image, weights],
        attributes: { ...window, height: side, width: side },
        work: convolution,
        torch: "conv2dInputGradient",
      },
      {
        name: "its weights' gradient",
        operation: "conv2dWeightGradient",
        inputs: [image, image],
        attributes: { ...window, height: 3, width: 3 },
        work: convolution,
        torch: "conv2dWeightGradient",
      },
    ];
  };

  const moved = (
    name: string,
    operation: string,
    inputs: readonly Input[],
    out: number,
    more: Partial<Case> = {},
  ): Case => ({
    name,
    operation,
    inputs,
    attributes: {},
    work: { amount: bytes(inputs, out), unit: "GB/s" },
    ...more,
  });

  const elementwise = (): Case[] => {
    const flat = of(size(1 << 26, 1 << 12));
    const out = 2 * elementCount(flat.shape);
    return [
      moved("gelu", "gelu", [flat], out, { torch: "gelu" }),
      moved("add", "add", [flat, flat], out, { torch: "add" }),
      moved("swiglu", "swiglu", [flat, flat], out, { torch: "swiglu" }),
      moved("cast to float32", "cast", [flat], 2 * out, { attributes: { dtype: "float32" }, torch: "toFloat32" }),
      moved("dropout", "dropout", [flat], out, { attributes: { probability: 0.1, seed: 1 }, torch: "dropout" }),
    ];
  };

  const norms = (): Case[] => {
    const rows = of(size(16_384, 64), size(384, 48));
    const factor = of(rows.shape[1] as number);
    const image = of(size(512, 2), size(56, 7), size(56, 7), size(64, 16));
    const channels = image.shape[3] as number;
    const read = 2 * elementCount(image.shape);
    return [
      moved("rmsNorm", "rmsNorm", [rows, factor], 2 * elementCount(rows.shape), { torch: "rmsNorm" }),
      moved("layerNorm", "layerNorm", [rows, factor, factor], 2 * elementCount(rows.shape), { torch: "layerNorm" }),
      moved(
        "rmsNormGradient",
        "rmsNormGradient",
        [rows, rows, wide(rows.shape[0] as number), factor],
        // Both are read again for the gradient of the factors.
        6 * elementCount(rows.shape),
      ),
      // x is read once for the statistics and once for the normalization.
      moved("batchNorm", "batchNorm", [image, of(channels), of(channels), wide(channels), wide(channels)], 2 * read, {
        torch: "batchNorm",
      }),
    ];
  };

  const language = (): Case[] => {
    const [batch, length, heads, head] = [size(16, 1), size(1024, 40), size(6, 2), size(64, 16)];
    const vocabulary = size(50_304, 300);
    const tokens = batch * length;
    const logits = of(tokens, vocabulary);
    const labels = below(vocabulary, tokens);
    const part = of(batch, length, heads, head);
    const attributes = { scale: 1 / Math.sqrt(head) };
    // Half of the pairs are masked.
    const pairs = (batch * heads * length * (length + 1)) / 2;
    const table = of(vocabulary, heads * head);
    const rows = of(batch, length, heads * head);
    return [
      moved("crossEntropy", "crossEntropy", [logits, labels], 12 * tokens, { torch: "crossEntropy" }),
      moved(
        "crossEntropyGradient",
        "crossEntropyGradient",
        [logits, labels, wide(), wide(tokens), wide(tokens), wide()],
        2 * elementCount(logits.shape),
      ),
      {
        name: `attention of [${part.shape}]`,
        operation: "attention",
        inputs: [part, part, part],
        attributes,
        work: { amount: 4 * head * pairs, unit: "TFLOP/s" },
        torch: "attention",
      },
      {
        name: "its gradient",
        operation: "attentionGradient",
        inputs: [part, part, part, part, part, wide(batch, heads, length), wide(batch, heads, length)],
        attributes,
        work: { amount: 10 * head * pairs, unit: "TFLOP/s" },
      },
      moved("rotary", "rotary", [part], 2 * elementCount(part.shape)),
      // Of the table only the selected rows are read.
      {
        ...moved("embedding", "embedding", [below(vocabulary, batch, length), table], 0, { torch: "embedding" }),
        work: { amount: 4 * elementCount(rows.shape), unit: "GB/s" },
      },
      moved(
        "embeddingGradient",
        "embeddingGradient",
        [below(vocabulary, batch, length), rows],
        // The table is zeroed first.
        2 * elementCount(table.shape),
        { attributes: { rows: vocabulary }, torch: "embeddingGradient" },
      ),
    ];
  };
  return [...products(), ...elementwise(), ...norms(), ...language()];
}
