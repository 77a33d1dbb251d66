// The loops of matrix products as compiled by nvcc for sm_90. A scheduler issues one instruction per cycle, and its
// tensor core takes about six cycles for an mma, so more instructions per mma than that would limit the product.
import { spawnSync } from "node:child_process";
import { beforeAll, describe, expect, test } from "vitest";
import { type KernelReport, kernelsOf } from "../../scripts/kernel-report.mjs";

const hasNvcc = spawnSync("nvcc", ["--version"]).status === 0;

const kinds = ["BFloat16Product", "Tf32Product"] as const;
type Kind = (typeof kinds)[number];

/**
 * The most instructions per mma: of a dense product, of one in small tiles, of one with windows of images, and of the
 * latter in small tiles, where the shared memory takes as long as 12 instructions (native/cuda/gemm.cuh). TF32 takes one
 * instruction more to round, and 1.5 in small tiles. If the lines of an operand are neighbours, it also takes four loads
 * where bfloat16 takes one.
 */
const budgets = {
  BFloat16Product: { dense: 5, smallDense: 5, windows: 5, smallWindows: 8.5 },
  Tf32Product: { dense: 5, smallDense: 6, windows: 7, smallWindows: 9 },
};

function budgetOf(kind: Kind, kernel: string): number {
  const isSmall = kernel.includes("BlockTile<64, 64,");
  const { dense, smallDense, windows, smallWindows } = budgets[kind];
  if (!kernel.includes("ImageWindows")) return isSmall ? smallDense : dense;
  return isSmall ? smallWindows : windows;
}

/** The largest tiles have this many instructions per mma if both operands are dense, with a fifth in reserve. */
const ofLargeDenseTiles = { BFloat16Product: 2.5 * 1.2, Tf32Product: 4.1 * 1.2 };

describe.skipIf(!hasNvcc)(`matrix products compiled by nvcc${hasNvcc ? "" : " (skipped: there is no nvcc)"}`, () => {
  let kernels: KernelReport[];
  const of = (kind: Kind) => kernels.filter(({ kernel }) => kernel.startsWith("gemmKernel<") && kernel.includes(kind));
  beforeAll(() => {
    kernels = kernelsOf("native/cuda/matrix_operations.cu", "sm_90");
  });

  /** The loops that contain an instruction. */
  const loopsWith = ({ loops }: KernelReport, name: string) => loops.filter(({ counts }) => (counts[name] ?? 0) > 0);

  test.each(kinds)("%s: there is one loop with mma in each product, and it stays within its budget", (kind) => {
    expect(of(kind).length).toBeGreaterThan(20);
    for (const one of of(kind)) {
      const [loop, ...more] = loopsWith(one, "HMMA");
      expect(more, one.kernel).toEqual([]);
      const perProduct = loop!.instructions / loop!.counts["HMMA"]!;
      expect(perProduct, one.kernel).toBeLessThanOrEqual(budgetOf(kind, one.kernel));
      const isLargeAndDense = !one.kernel.includes("ImageWindows") && /BlockTile<(128|256), 128,/.test(one.kernel);
      if (isLargeAndDense) expect(perProduct, one.kernel).toBeLessThanOrEqual(ofLargeDenseTiles[kind]);
    }
  });

  test.each(kinds)("%s: the loop copies 16 bytes at a time past the registers, and calls nothing", (kind) => {
    for (const one of of(kind)) {
      const { counts } = loopsWith(one, "HMMA")[0]!;
      expect(counts["LDGSTS.128"], one.kernel).toBeGreaterThan(0);
      for (const name of Object.keys(counts))
        expect(`${one.kernel}: ${name}`).not.toMatch(/: (LDG|STS|CALL|LDL|STL|MUFU|I2F|F2I)(\.|$)/);
    }
  });

  // A division of 64-bit numbers is a call. The activations of an epilogue divide float32, which may call.
  test("no loop without an epilogue calls a function", () => {
    for (const { kernel, loops } of kernels.filter((one) => !/\bEpilogue</.test(one.kernel)))
      for (const { counts } of loops) expect({ kernel, calls: counts["CALL"] ?? 0 }).toEqual({ kernel, calls: 0 });
  });

  test("a product without an epilogue stores four elements in at most 70 instructions", () => {
    const plain = kernels.filter(({ kernel }) => /^gemmKernel<.*NoEpilogue/.test(kernel));
    expect(plain.length).toBeGreaterThan(30);
    for (const one of plain) {
      // One loop for the result and one for slices. Tiles that are stored in two halves have a loop around them.
      const stores = loopsWith(one, "LDS.128").filter(({ counts }) => counts["LDS.128"] === 1 && !counts["BAR"]);
      expect(stores.length, one.kernel).toBeGreaterThanOrEqual(1);
      for (const { instructions } of stores) expect(instructions, one.kernel).toBeLessThanOrEqual(70);
    }
  });
});
