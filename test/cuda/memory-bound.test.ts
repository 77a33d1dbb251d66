// Kernels that only move bfloat16 numbers, as nvcc compiles them: a group of eight takes few instructions, and the loads
// of all operands are under way before the first is waited for.
import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { kernelsOf } from "../../scripts/kernel-report.mjs";

const hasNvcc = spawnSync("nvcc", ["--version"]).status === 0;

/** A loop of a kernel over groups of eight elements. */
interface GroupLoop {
  readonly source: string;
  readonly kernel: string;
  /** The loads and stores of 16 bytes of an iteration, by which the loop is found. */
  readonly loads: number;
  readonly stores: number;
  /** Loads that are under way before the first one is waited for. The others are of rows in a cache. */
  readonly together: number;
  /** The most instructions per element. */
  readonly instructions: number;
  /** The elements of an iteration; 8 if not stated. */
  readonly elements?: number;
}

const groups = ["RowGroup<32>", "RowGroup<256>"];
const inSource = (source: string, loops: readonly Omit<GroupLoop, "source">[]) =>
  loops.map((loop) => ({ ...loop, source }));
const loops: readonly GroupLoop[] = [
  ...inSource("pointwise_operations.cu", [
    ...["Relu", "Affine", "Square"].map((f) => ({
      ...{ kernel: `mapKernel<BFloat16, ${f}>`, loads: 1, stores: 1, together: 1, instructions: 8 },
    })),
    ...["Add", "Subtract", "Multiply", "AddRelu", "ReluGradient"].map((f) => ({
      ...{ kernel: `zipKernel<BFloat16, ${f}>`, loads: 2, stores: 1, together: 2, instructions: 8 },
    })),
    ...["Add", "Subtract", "Multiply", "AddRelu"].map((f) => ({
      ...{ kernel: `zipRepeatedKernel<BFloat16, ${f}>`, loads: 2, stores: 1, together: 2, instructions: 8 },
    })),
    { kernel: "zipKernel<BFloat16, Swiglu>", loads: 2, stores: 1, together: 2, instructions: 12 },
    { kernel: "swigluGradientKernel<BFloat16>", loads: 3, stores: 2, together: 3, instructions: 21 },
    ...["Sigmoid", "Silu"].map((f) => ({
      ...{ kernel: `mapKernel<BFloat16, ${f}>`, loads: 1, stores: 1, together: 1, instructions: 9 },
    })),
    { kernel: "mapKernel<BFloat16, Gelu>", loads: 1, stores: 1, together: 1, instructions: 20 },
    { kernel: "zipKernel<BFloat16, GeluGradient>", loads: 2, stores: 1, together: 2, instructions: 25 },
  ]),
  ...inSource("random_operations.cu", [
    { kernel: "dropoutKernel<BFloat16>", loads: 1, stores: 1, together: 1, instructions: 19 },
    { kernel: "uniformKernel", loads: 0, stores: 1, together: 0, instructions: 21, elements: 4 },
  ]),
  ...inSource("memory_operations.cu", [
    { kernel: "castKernel<float, BFloat16>", loads: 1, stores: 2, together: 1, instructions: 4 },
    { kernel: "castKernel<BFloat16, float>", loads: 2, stores: 1, together: 2, instructions: 4 },
  ]),
  ...inSource("normalization_operations.cu", [
    { kernel: "scaleShiftKernel<BFloat16>", loads: 5, stores: 1, together: 3, instructions: 10 },
    { kernel: "batchNormInferenceKernel<BFloat16>", loads: 7, stores: 1, together: 3, instructions: 20 },
    { kernel: "batchNormGradientKernel<BFloat16>", loads: 10, stores: 1, together: 5, instructions: 14 },
    { kernel: "batchStatisticsKernel<BFloat16>", loads: 4, stores: 0, together: 4, instructions: 4, elements: 32 },
    { kernel: "batchGradientSumsKernel<BFloat16>", loads: 4, stores: 0, together: 2, instructions: 10, elements: 16 },
    ...groups.flatMap((group) => [
      { kernel: `rowNormKernel<false, ${group}, BFloat16>`, loads: 3, stores: 1, together: 3, instructions: 13 },
      {
        kernel: `rowNormGradientKernel<false, ${group}, BFloat16>`,
        loads: 3,
        stores: 1,
        together: 3,
        instructions: 14,
      },
    ]),
  ]),
  ...inSource("loss_operations.cu", [
    ...groups.flatMap((group) => [
      { kernel: `logSoftmaxKernel<${group}, BFloat16>`, loads: 1, stores: 1, together: 1, instructions: 6 },
      { kernel: `logSoftmaxGradientKernel<${group}, BFloat16>`, loads: 2, stores: 1, together: 2, instructions: 9 },
      {
        kernel: `crossEntropyKernel<${group}, BFloat16>`,
        loads: 2,
        stores: 0,
        together: 2,
        instructions: 8,
        elements: 16,
      },
      {
        ...{ kernel: `crossEntropyGradientKernel<${group}, BFloat16>`, loads: 2, stores: 2, together: 2 },
        ...{ instructions: 8, elements: 16 },
      },
      // With smoothing and class weights.
      { kernel: `crossEntropyGradientKernel<${group}, BFloat16>`, loads: 3, stores: 1, together: 3, instructions: 12 },
    ]),
  ]),
];

describe.skipIf(!hasNvcc)(`memory-bound kernels in bfloat16${hasNvcc ? "" : " (skipped: there is no nvcc)"}`, () => {
  test.each(loops)("$kernel", ({ source, kernel, loads, stores, together, instructions, elements = 8 }) => {
    const report = kernelsOf(`native/cuda/${source}`, "sm_90").find((one) => one.kernel === kernel);
    const found = report?.loops.find(
      ({ counts }) => (counts["LDG.128"] ?? 0) === loads && (counts["STG.128"] ?? 0) === stores,
    );
    expect(found?.loadsTogether).toBeGreaterThanOrEqual(together);
    expect((found?.instructions ?? 0) / elements).toBeLessThanOrEqual(instructions);
  });
});
