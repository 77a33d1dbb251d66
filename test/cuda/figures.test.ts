// The page of kernels lists every kernel, and nvcc still keeps everything in registers as the page states.
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

/** Names of the kernels defined in the backend's headers. */
function defined(): string[] {
  const headers = readdirSync(folder).filter((name) => name.endsWith(".cuh"));
  const text = headers.map((name) => readFileSync(join(folder, name), "utf8")).join("\n");
  return [...text.matchAll(/__global__ void[^;{]*?\b(\w+Kernel)\(/g)].map(([, name = ""]) => name);
}

test("every kernel of every source is in the figures and on the page", () => {
  const names = defined();
  expect(names.length).toBeGreaterThan(40);
  expect([...new Set(figures.kernels.map(({ kernel }) => baseOf(kernel)))].sort()).toEqual([...names].sort());
  expect([...new Set(figures.kernels.map(({ source }) => source))].sort()).toEqual(sources);
  const page = readFileSync(join(root, "docs/kernels.md"), "utf8");
  for (const name of names) expect(page).toContain(`| ${name} |`);
});

interface Predictions {
  readonly steps: readonly {
    readonly training: string;
    readonly batch: string;
    readonly milliseconds: number;
    readonly operations: readonly { readonly operation: string; readonly milliseconds: number }[];
  }[];
}

test("the page has the predicted training steps, and each is the sum of its operations", () => {
  const file = readFileSync(join(root, "bench/results/step-predictions.json"), "utf8");
  const { steps }: Predictions = JSON.parse(file);
  const page = readFileSync(join(root, "docs/kernels.md"), "utf8");
  expect(steps.map(({ training }) => training)).toEqual(["resnet18", "olmo-36m"]);
  for (const { training, batch, milliseconds, operations } of steps) {
    expect(page).toContain(`### ${training}, ${batch}, bf16: ${milliseconds.toFixed(1)} ms`);
    expect(operations.reduce((sum, row) => sum + row.milliseconds, 0)).toBeCloseTo(milliseconds, 9);
    for (const { operation } of operations) expect(page).toContain(`| ${operation} |`);
  }
});

test("the figures have no spills and no stack", () => {
  for (const one of figures.kernels)
    for (const architecture of architectures)
      expect(one[architecture], `${one.kernel} ${architecture}`).toMatchObject({ spilledBytes: 0, stackBytes: 0 });
});

// These kernels read one number per column of a part, one key of an id per thread, or a few thousand numbers in all.
const fewNumbers = new Set([
  ...["addPartsKernel", "addColumnPartsKernel", "mergeStatisticsKernel", "mergeGradientSumsKernel"],
  ...["addLossesKernel", "countEqualKernel", "writeRowKernel", "prepareStepKernel", "sortIdsKernel", "mergeIdsKernel"],
  "unpairPixelsKernel",
]);

test("in the figures every other kernel moves 16 bytes at once where numbers are contiguous", () => {
  const widest = new Map<string, number>();
  for (const { kernel, sm_90 } of figures.kernels)
    widest.set(baseOf(kernel), Math.max(widest.get(baseOf(kernel)) ?? 0, sm_90?.widestAccess ?? 0));
  for (const [kernel, bytes] of widest) if (!fewNumbers.has(kernel)) expect(`${kernel} ${bytes}`).toBe(`${kernel} 16`);
});

test("occupancy agrees with NVIDIA's guide", () => {
  // 65,536 registers for 2,048 threads are 32 each. With one more allocation unit, one of eight blocks does not fit.
  expect(occupancy("sm_90", { threads: 256, registers: 32, sharedBytes: 0 })).toBe(1);
  expect(occupancy("sm_90", { threads: 256, registers: 33, sharedBytes: 0 })).toBe(0.75);
  expect(occupancy("sm_80", { threads: 256, registers: 255, sharedBytes: 0 })).toBe(0.125);
  // With 100 KiB of shared memory, one block fits into 164 KiB and two into 228 KiB.
  expect(occupancy("sm_80", { threads: 256, registers: 32, sharedBytes: 100 * 1024 })).toBe(0.125);
  expect(occupancy("sm_90", { threads: 256, registers: 32, sharedBytes: 100 * 1024 })).toBe(0.25);
  // At most 32 blocks, however few threads they have.
  expect(occupancy("sm_90", { threads: 32, registers: 16, sharedBytes: 0 })).toBe(0.5);
});

// compiled.test.ts checks the optimizer's kernels in more detail.
describe.skipIf(!hasNvcc)(`nvcc${hasNvcc ? "" : " (skipped: it is not there)"}`, () => {
  test.each(sources.filter((name) => name !== "optimizer_operations.cu"))(
    "keeps everything in registers in %s",
    (source) => {
      for (const { kernel, stackBytes, spilledBytes, threads } of kernelsOf(`native/cuda/${source}`, "sm_90"))
        expect({ kernel, stackBytes, spilledBytes, threads }).toEqual({
          kernel,
          stackBytes: 0,
          spilledBytes: 0,
          threads: figures.kernels.find((one) => one.source === source && one.kernel === kernel)?.threads,
        });
    },
  );
});
