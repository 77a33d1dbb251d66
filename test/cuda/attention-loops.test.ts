// The loops of attention on tensor cores, as compiled by nvcc: nothing but the products, the softmax and the copies.
// Their instructions per product are counted in native/cuda/attention_tensor_core.cuh.
import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { kernelsOf } from "../../scripts/kernel-report.mjs";

const hasNvcc = spawnSync("nvcc", ["--version"]).status === 0;

/** The most instructions per mma in the loops of each kernel, by the size of its heads. */
const budgets = {
  attentionTensorKernel: { 32: 9, 64: 6, 128: 4.5 },
  attentionQueryGradientTensorKernel: { 32: 7.5, 64: 5.5, 128: 4 },
  attentionKeyGradientTensorKernel: { 32: 7.5, 64: 5.5, 128: 5 },
};
const budgeted = Object.entries(budgets).flatMap(([kernel, bySize]) =>
  Object.entries(bySize).map(([size, most]) => ({ kernel: `${kernel}<${size}>`, most })),
);

describe.skipIf(!hasNvcc)(`attention compiled by nvcc${hasNvcc ? "" : " (skipped: there is no nvcc)"}`, () => {
  const kernels = () => kernelsOf("native/cuda/attention_operations.cu", "sm_90");

  test.each(budgeted)("$kernel has at most $most instructions per mma in its loops", ({ kernel, most }) => {
    const loops = kernels().find((one) => one.kernel === kernel)?.loops ?? [];
    const multiplying = loops.filter(({ counts }) => counts["HMMA"]);
    expect(multiplying.length).toBeGreaterThan(0);
    for (const { instructions, counts } of multiplying)
      expect(instructions / counts["HMMA"]!, JSON.stringify(counts)).toBeLessThanOrEqual(most);
    // An exponential is one instruction. Each number of a score needs one, and the forward loop two more.
    const exponentials = multiplying.map(({ counts }) => counts["MUFU"]! / counts["F2FP"]!);
    expect(Math.max(...exponentials)).toBeLessThan(2.25);
  });

  // A 64-bit division is a call, a 32-bit division converts integers.
  test("no loop of any kernel divides, and tensors are copied 16 bytes at a time", () => {
    for (const { kernel, loops } of kernels())
      for (const { counts } of loops)
        for (const name of ["CALL", "I2F", "F2I"]) expect(`${kernel}: ${counts[name] ?? 0} ${name}`).toMatch(/: 0 /);
    for (const { kernel, loops } of kernels().filter(({ kernel }) => kernel.includes("TensorKernel")))
      expect(Math.max(...loops.map(({ counts }) => counts["LDGSTS.128"] ?? 0)), kernel).toBeGreaterThan(0);
  });
});
