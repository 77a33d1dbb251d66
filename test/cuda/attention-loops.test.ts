// The loops of attention on tensor cores, as compiled by nvcc: nothing but the products, the softmax and the copies.
// Their instructions per product are counted in native/cuda/attention_tensor_core.cuh.
import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { kernelsOf } from "../../scripts/kernel-report.mjs";

const hasNvcc = spawnSync("nvcc", ["--version"]).status === 0;

/**
 * The most instructions per mma in the loops of each kernel, by the size of its heads, and the most in loops over tiles
 * on the diagonal. Those have code for the parts of a tile that a warp needs, of which it runs one.
 */
const budgets = {
  attentionTensorKernel: { 32: [8.5, 14], 64: [7, 11.5], 128: [4.5, 4.5] },
  attentionQueryGradientTensorKernel: { 32: [7.5, 7.5], 64: [5, 5], 128: [4, 4] },
  attentionKeyGradientTensorKernel: { 32: [7.5, 7.5], 64: [5.5, 5.5], 128: [5, 5] },
} as const;
const budgeted = Object.entries(budgets).flatMap(([kernel, bySize]) =>
  Object.entries(bySize).map(([size, [most, mostOnDiagonal]]) => ({
    kernel: `${kernel}<${size}>`,
    most,
    mostOnDiagonal,
  })),
);

/** Whether a loop selects between scores, which only happens on the diagonal. */
const isOnDiagonal = ({ counts }: { counts: Record<string, number> }) => (counts["FSEL"] ?? 0) > 0;

describe.skipIf(!hasNvcc)(`attention compiled by nvcc${hasNvcc ? "" : " (skipped: there is no nvcc)"}`, () => {
  const kernels = () => kernelsOf("native/cuda/attention_operations.cu", "sm_90");

  test.each(budgeted)(
    "$kernel has at most $most instructions per mma in its loops",
    ({ kernel, most, mostOnDiagonal }) => {
      const loops = kernels().find((one) => one.kernel === kernel)?.loops ?? [];
      const multiplying = loops.filter(({ counts }) => counts["HMMA"]);
      expect(multiplying.length).toBeGreaterThan(0);
      for (const loop of multiplying)
        expect(loop.instructions / loop.counts["HMMA"]!, JSON.stringify(loop.counts)).toBeLessThanOrEqual(
          isOnDiagonal(loop) ? mostOnDiagonal : most,
        );
      // An exponential is one instruction, and rounding two numbers is one. Each number of a score needs an exponential,
      // and each row of the forward loop one more.
      const exponentials = multiplying
        .filter((loop) => !isOnDiagonal(loop))
        .map(({ counts }) => counts["MUFU"]! / counts["F2FP"]!);
      expect(Math.max(...exponentials)).toBeLessThanOrEqual(2.25);
    },
  );

  // A 64-bit division is a call, a 32-bit division converts integers.
  test("no loop of any kernel divides, and tensors are copied 16 bytes at a time", () => {
    for (const { kernel, loops } of kernels())
      for (const { counts } of loops)
        for (const name of ["CALL", "I2F", "F2I"]) expect(`${kernel}: ${counts[name] ?? 0} ${name}`).toMatch(/: 0 /);
    for (const { kernel, loops } of kernels().filter(({ kernel }) => kernel.includes("TensorKernel")))
      expect(Math.max(...loops.map(({ counts }) => counts["LDGSTS.128"] ?? 0)), kernel).toBeGreaterThan(0);
  });
});
