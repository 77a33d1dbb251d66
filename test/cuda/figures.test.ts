// The page of kernels has every kernel that there is, and nvcc still makes of them what it says: nothing outside registers.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { architectures, type KernelReport, kernelsOf, occupancy } from "../../scripts/kernel-report.mjs";

const root = join(import.meta.dirname, "../..");
const folder = join(root, "native/cuda");
const sources = readdirSync(folder).filter((name) => name.endsWith(".cu"));
const hasNvcc = spawnSync("nvcc", ["--version"]).status === 0;

interface Figures {
  readonly kernels: readonly ({ source: string; kernel: string; threads: number } & Record<string, KernelReport>)[];
}
const figures: Figures = JSON.parse(readFileSync(join(root, "bench/results/kernels-static.json"), "utf8"));
const baseOf = (kernel: string) => kernel.replace(/<.*$/, "");

/** Names of the kernels that headers of the backend define. */
function defined(): string[] {
  const headers = readdirSync(folder).filter((name) => name.endsWith(".cuh"));
  const text = headers.map((name) => readFileSync(join(folder, name), "utf8")).join("\n");
  return [...text.matchAll(/__global__ void[^;{]*?\b(\w+Kernel)\(/g)].map(([, name = ""]) => name);
}

test("every kernel is in the figures, from every source, and on the page", () => {
  const names = defined();
  expect(names.length).toBeGreaterThan(40);
  expect([...new Set(figures.kernels.map(({ kernel }) => baseOf(kernel)))].sort()).toEqual([...names].sort());
  expect([...new Set(figures.kernels.map(({ source }) => source))].sort()).toEqual(sources);
  const page = readFileSync(join(root, "docs/kernels.md"), "utf8");
  for (const name of names) expect(page).toContain(`| ${name} |`);
});

test("in the figures nothing lies outside registers", () => {
  for (const one of figures.kernels)
    for (const architecture of architectures)
      expect(one[architecture], `${one.kernel} ${architecture}`).toMatchObject({ spilledBytes: 0, stackBytes: 0 });
});

// What they read is one number for each column of a part, or a few hundred in all.
const fewNumbers = new Set([
  ...["addPartsKernel", "addColumnPartsKernel", "mergeStatisticsKernel", "mergeGradientSumsKernel"],
  ...["addLossesKernel", "countEqualKernel", "writeRowKernel", "prepareStepKernel", "sortIdsKernel"],
]);

test("in the figures every kernel of many numbers moves 16 bytes at once, where they lie side by side", () => {
  const widest = new Map<string, number>();
  for (const { kernel, sm_90 } of figures.kernels)
    widest.set(baseOf(kernel), Math.max(widest.get(baseOf(kernel)) ?? 0, sm_90?.widestAccess ?? 0));
  for (const [kernel, bytes] of widest) if (!fewNumbers.has(kernel)) expect(`${kernel} ${bytes}`).toBe(`${kernel} 16`);
});

test("occupancy is that of NVIDIA's guide", () => {
  // 65,536 registers for 2,048 threads are 32 each; a piece more, and one block of eight does not fit.
  expect(occupancy("sm_90", { threads: 256, registers: 32, sharedBytes: 0 })).toBe(1);
  expect(occupancy("sm_90", { threads: 256, registers: 33, sharedBytes: 0 })).toBe(0.75);
  expect(occupancy("sm_80", { threads: 256, registers: 255, sharedBytes: 0 })).toBe(0.125);
  // 100 KiB of shared memory: one block of 164 KiB, two of 228 KiB.
  expect(occupancy("sm_80", { threads: 256, registers: 32, sharedBytes: 100 * 1024 })).toBe(0.125);
  expect(occupancy("sm_90", { threads: 256, registers: 32, sharedBytes: 100 * 1024 })).toBe(0.25);
  // 32 blocks at most, of however few threads.
  expect(occupancy("sm_90", { threads: 32, registers: 16, sharedBytes: 0 })).toBe(0.5);
});

// The optimizer's are in compiled.test.ts, which says more.
describe.skipIf(!hasNvcc)(`nvcc${hasNvcc ? "" : " (skipped: it is not there)"}`, () => {
  test.each(sources.filter((name) => name !== "optimizer_operations.cu"))("keeps all in registers of %s", (source) => {
    for (const { kernel, stackBytes, spilledBytes, threads } of kernelsOf(`native/cuda/${source}`, "sm_90"))
      expect({ kernel, stackBytes, spilledBytes, threads }).toEqual({
        kernel,
        stackBytes: 0,
        spilledBytes: 0,
        threads: figures.kernels.find((one) => one.source === source && one.kernel === kernel)?.threads,
      });
  });
});
