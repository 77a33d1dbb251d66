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

// Large copies and loads that are issued together reach all of the copy's rate but the first and the last waves.
const streaming = 0.92;

/**
 * Returns the part of the copy's rate that a kernel reaches with so many instructions of a thread per byte of memory
 * traffic. The schedulers of an H200 issue 132 · 4 · 32 · 1.75e9 = 3e13 of them a second, 6.9 per byte of a copy. They
 * are busy in about 70 % of the cycles.
 */
const withInstructionsPerByte = (instructions: number) => Math.min(streaming, (0.7 * 6.9) / instructions);

/**
 * Returns the part of cuBLAS's rate that a kernel reaches if a scheduler needs so many cycles per tensor-core
 * instruction: one for every instruction, or more if shared memory is slower. The peak of 989 TFLOP/s needs one in every
 * 4 cycles. Those that the kernels use take 6.4. A fifth is lost at barriers and at the ends of tiles.
 */
const withCyclesPerMma = (cycles: number) => (0.8 * (989 / h200.matrix) * 4) / Math.max(6.4, cycles);

/** The efficiencies, from the machine code for sm_90. The headers of the kernels have the counts. */
export const efficiencies: Readonly<Record<Family, Efficiency>> = {
  copy: { copy: 1, matrix: 1, reason: "the driver's copy" },
  update: { copy: 0.96, matrix: 1, reason: "loads of 16 bytes, issued together, from one large list" },
  "gradient norm": { copy: streaming, matrix: 1, reason: "loads of 16 bytes, issued together" },
  product: {
    copy: streaming,
    matrix: withCyclesPerMma(2.4),
    reason: "2.4 instructions per tensor-core instruction",
  },
  "float32 product": { copy: streaming, matrix: 0.055, reason: "no tensor cores: 67 TFLOP/s, and 65 % of it" },
  "TF32 product": {
    copy: streaming,
    matrix: withCyclesPerMma(3.3) / 2,
    reason: "3.3 instructions per tensor-core instruction, which multiplies half as many numbers as in bf16",
  },
  convolution: {
    copy: streaming,
    matrix: 0.9 * withCyclesPerMma(3.2),
    reason:
      "3.2 instructions per tensor-core instruction; rows of windows are short reads; the zeros that a first layer " +
      "multiplies are not counted",
  },
  "convolution, gradient of the images": {
    copy: streaming,
    matrix: 0.9 * withCyclesPerMma(3.9),
    reason: "3.9 instructions per tensor-core instruction; no products with the zeros of a stride",
  },
  "convolution, gradient of the weights": {
    copy: streaming,
    matrix: 0.8 * withCyclesPerMma(4.9),
    reason: "4.9 instructions per tensor-core instruction; slices of a long sum are added at the end",
  },
  "TF32 convolution": {
    copy: streaming,
    matrix: (0.9 * withCyclesPerMma(5.3)) / 2,
    reason: "as in bf16, with 3.5 to 5.3 instructions and half as many numbers per tensor-core instruction",
  },
  "TF32 convolution, gradient of the weights": {
    copy: streaming,
    matrix: (0.8 * withCyclesPerMma(6.6)) / 2,
    reason: "as in bf16, with 5.3 to 6.6 instructions and half as many numbers per tensor-core instruction",
  },
  attention: {
    copy: streaming,
    matrix: 0.6 * withCyclesPerMma(5.4),
    reason:
      "684 instructions for 128 tensor-core instructions, and 4 cycles of shared memory for each of these; tiles come " +
      "from the L2 cache at 128 flops per byte",
  },
  "attention, gradient": {
    copy: streaming,
    matrix: 0.6 * (5 / 7) * withCyclesPerMma((3 * 6.4 + 4 * 8) / 7),
    reason:
      "as attention, but 8 cycles of shared memory in four products of seven, where five products would do: two kernels " +
      "compute the scores again",
  },
  elements: { copy: streaming, matrix: 1, reason: "5 to 19 instructions per element; up to 40 are hidden by 6 bytes" },
  rows: {
    copy: withInstructionsPerByte(14 / 4),
    matrix: 1,
    reason: "14 instructions per element of 4 bytes; a row is read again from the cache",
  },
  "row statistics": {
    copy: withInstructionsPerByte(8 / 2),
    matrix: 1,
    reason: "7 instructions per logit of 2 bytes, and an exponential in 8 cycles of a scheduler",
  },
  "rows, with sums of columns": {
    copy: 0.6 * streaming,
    matrix: 1,
    reason: "the sums of columns read both inputs again: 10 bytes per element where 6 would do",
  },
  "sums of columns": { copy: streaming, matrix: 1, reason: "5 instructions per element" },
  "batch norm": {
    copy: withInstructionsPerByte(18 / 6),
    matrix: 1,
    reason: "18 instructions per element of 6 bytes, and 21 of 10 backward",
  },
  windows: { copy: 0.6, matrix: 1, reason: "every input is in several windows, which the cache serves" },
  "embedding, gradient": {
    copy: 0.3,
    matrix: 1,
    reason: "five launches, and a chain of sums: 50 µs where the bytes take 16",
  },
};

/** Predicts the milliseconds of one operation on an H200, from its work and the efficiency of its family. */
export function predictedMilliseconds({ family, bytes, flops }: Cost): number {
  const { copy, matrix } = efficiencies[family];
  return h200.launch + Math.max(bytes / (h200.copy * copy) / 1e6, flops / (h200.matrix * matrix) / 1e9);
}
