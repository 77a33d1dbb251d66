// Times that are expected on an H200, so that a measurement has something to disagree with.
import type { Cost, Family } from "./cost.js";

/** Two published rates of an H200, and the time that any kernel takes. */
export const h200 = {
  /** Rate of a large copy in GB/s, bytes that are read and written together. */
  copy: 4300,
  /** Rate of a large bfloat16 product of cuBLAS in TFLOP/s. */
  matrix: 790,
  /** Milliseconds from the end of a kernel to the first work of the next one. */
  launch: 0.002,
} as const;

/** The predicted part of the two rates that a family of kernels reaches, and what it follows from. */
interface Efficiency {
  readonly copy: number;
  readonly matrix: number;
  readonly reason: string;
}

// A tensor-core instruction of a warp takes at least 4 cycles, and a scheduler issues one instruction per cycle. So with
// n instructions per tensor-core instruction, 4/n of the peak of 989 TFLOP/s is reached, which is 5/n of cuBLAS's rate.
const perTensorCoreInstruction = (n: number) => 5 / n;

/** The efficiencies, from the machine code for sm_90. */
export const efficiencies: Readonly<Record<Family, Efficiency>> = {
  copy: { copy: 1, matrix: 1, reason: "the driver's copy" },
  update: { copy: 0.96, matrix: 1, reason: "loads of 16 bytes, issued together" },
  "gradient norm": { copy: 0.9, matrix: 1, reason: "loads of 16 bytes, issued together; one sum at the end" },
  product: {
    copy: 0.9,
    matrix: perTensorCoreInstruction(13.6),
    reason: "about 14 instructions per tensor-core instruction",
  },
  "float32 product": { copy: 0.9, matrix: 0.055, reason: "no tensor cores: 67 TFLOP/s, and 65 % of it" },
  convolution: {
    copy: 0.8,
    matrix: perTensorCoreInstruction(20),
    reason: "as products, and the place of every chunk is computed",
  },
  "convolution, gradient of the images": {
    copy: 0.8,
    matrix: perTensorCoreInstruction(20),
    reason: "as convolutions; with a stride, most products are with zeros",
  },
  "convolution, gradient of the weights": {
    copy: 0.8,
    matrix: perTensorCoreInstruction(20),
    reason: "as convolutions; parts of a long sum are added at the end",
  },
  attention: {
    copy: 0.8,
    matrix: perTensorCoreInstruction(33),
    reason: "about 2,100 instructions for 64 tensor-core instructions",
  },
  "attention, gradient": { copy: 0.8, matrix: perTensorCoreInstruction(33), reason: "as attention" },
  elements: { copy: 0.6, matrix: 1, reason: "bfloat16: 160 instructions for 4 elements, and one load at a time" },
  rows: { copy: 0.5, matrix: 1, reason: "as elements, and a row is read twice, the second time from the cache" },
  "row statistics": { copy: 0.6, matrix: 1, reason: "as elements" },
  "rows, with sums of columns": { copy: 0.4, matrix: 1, reason: "as rows; a second kernel reads the inputs again" },
  "sums of columns": { copy: 0.6, matrix: 1, reason: "as elements" },
  "batch norm": { copy: 0.6, matrix: 1, reason: "as elements" },
  windows: { copy: 0.4, matrix: 1, reason: "every input is in several windows, which the cache serves" },
  "embedding, gradient": {
    copy: 0.1,
    matrix: 1,
    reason: "ids are sorted; the rows of one id are added by one block",
  },
};

/** Predicts the milliseconds of one operation on an H200, from its work and the efficiency of its family. */
export function predictedMilliseconds({ family, bytes, flops }: Cost): number {
  const { copy, matrix } = efficiencies[family];
  return h200.launch + Math.max(bytes / (h200.copy * copy) / 1e6, flops / (h200.matrix * matrix) / 1e9);
}
