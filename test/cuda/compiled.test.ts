import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const hasNvcc = spawnSync("nvcc", ["--version"]).status === 0;
const source = join(import.meta.dirname, "update_kernels.cu");

interface KernelReport {
  readonly name: string;
  readonly registers: number;
  readonly spilledBytes: number;
}

/** What `ptxas -v` says of each kernel. */
function kernelsOf(report: string): KernelReport[] {
  return report
    .split("Compiling entry function")
    .slice(1)
    .map((part) => ({
      name: part.match(/'(\w+)'/)?.[1] ?? "",
      registers: Number(part.match(/Used (\d+) registers/)?.[1]),
      spilledBytes:
        Number(part.match(/(\d+) bytes spill stores/)?.[1]) + Number(part.match(/(\d+) bytes spill loads/)?.[1]),
    }));
}

/** The PTX of each kernel by its mangled name. */
function bodiesOf(ptx: string): Map<string, string> {
  const bodies = ptx.split(".visible .entry ").slice(1);
  return new Map(bodies.map((body) => [body.match(/^(\w+)/)?.[1] ?? "", body]));
}

describe.skipIf(!hasNvcc)(
  `the update kernels as nvcc compiles them${hasNvcc ? "" : " (skipped: there is no nvcc)"}`,
  () => {
    let folder: string;
    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), "stepsize-nvcc-"));
    });
    afterAll(() => rmSync(folder, { recursive: true, force: true }));

    function compile(architecture: string, ...more: string[]) {
      const output = join(folder, `${architecture}-${more.length}`);
      // No contraction: the CPU, the emulator and the device must give the same bits.
      const flags = ["-std=c++17", "-O3", "-fmad=false", "--Werror", "all-warnings", `-arch=${architecture}`];
      const { status, stdout, stderr } = spawnSync("nvcc", [...flags, ...more, source, "-o", output], {
        encoding: "utf8",
      });
      expect(status, stderr).toBe(0);
      return { report: `${stdout}${stderr}`, output };
    }

    test.each(["sm_80", "sm_90"])("%s: no warnings, no spills, at most 64 registers a thread", (architecture) => {
      const kernels = kernelsOf(compile(architecture, "-c", "-Xptxas", "-v").report);
      expect(kernels.length).toBe(6);
      for (const kernel of kernels) {
        expect(kernel.spilledBytes, kernel.name).toBe(0);
        // 64 registers let four blocks of 256 threads share a multiprocessor: enough to keep its memory busy.
        expect(kernel.registers, kernel.name).toBeLessThanOrEqual(64);
      }
    });

    test.each([
      ["3Sgd", 1],
      ["11SgdMomentum", 2],
      ["4Adam", 3],
      ["11AdamAmsgrad", 4],
    ] as const)("%s moves 16 bytes at a time: its %i lists, and an aligned gradient", (rule, lists) => {
      const bodies = bodiesOf(readFileSync(compile("sm_90", "-ptx").output, "utf8"));
      const body = [...bodies].find(([name]) => name.includes(`updateKernelINS0_${rule}E`))?.[1] ?? "";
      const loads = body.match(/ld\.global\.v4\.f32/g)?.length ?? 0;
      const stores = body.match(/st\.global\.v4\.f32/g)?.length ?? 0;
      // One loop for an aligned gradient and one for another, each unrolled as the compiler likes: every pass loads and
      // stores each list once, and the first also loads the gradient.
      expect(stores).toBeGreaterThanOrEqual(2 * lists);
      expect(stores % lists).toBe(0);
      expect(loads).toBeGreaterThan(stores);
      // Nothing is looked up in another address space, and float32 alone is used.
      expect(body).not.toMatch(/\b(ld|st)\.(v\d\.)?f32/);
      expect(body).not.toMatch(/\.f64/);
    });
  },
);
