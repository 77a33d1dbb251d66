// The reader of machine code finds the instructions and loops that nvcc must have made of small kernels. The inner loop
// runs at least once, because nvcc makes two outer loops if it may be empty.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { countByName, type Instruction, loadsTogether, loopsOf, machineCodeOf } from "../../scripts/machine-code.mjs";

const hasNvcc = spawnSync("nvcc", ["--version"]).status === 0;

const source = `
extern "C" __global__ void nested(const float4* x, float4* out, int rows, int columns) {
  #pragma unroll 1
  for (int i = 0; i < rows; i++) {
    float4 sum = {0, 0, 0, 0};
    int j = 0;
    #pragma unroll 1
    do {
      const float4 v = x[i * columns + j];
      sum = {sum.x + v.x, sum.y + v.y, sum.z + v.z, sum.w + v.w};
    } while (++j < columns);
    out[i] = sum;
  }
}
extern "C" __global__ void together(const float4* a, const float4* b, float4* out, int count) {
  #pragma unroll 1
  for (int i = threadIdx.x; i < count; i += 32) {
    const float4 x = a[i], y = b[i];
    out[i] = {x.x + y.x, x.y + y.y, x.z + y.z, x.w + y.w};
  }
}
extern "C" __global__ void oneByOne(const float4* a, const float4* b, float4* out, int count) {
  #pragma unroll 1
  for (int i = threadIdx.x; i < count; i += 32) {
    const float4 x = a[i];
    out[i] = x;
    // May be what was just stored.
    out[i + 1] = b[i];
  }
}
extern "C" __global__ void straight(const short* x, short* out) { out[threadIdx.x] = x[threadIdx.x]; }
extern "C" __global__ void divides(long long* x, long long by, int count) {
  #pragma unroll 1
  for (int i = 0; i < count; i++) x[i] /= by;
}`;

describe.skipIf(!hasNvcc).each(["sm_80", "sm_90"])(
  `machine code for %s${hasNvcc ? "" : " (skipped: there is no nvcc)"}`,
  (architecture) => {
    let folder: string;
    let kernels: Map<string, Instruction[]>;
    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), "stepsize-machine-code-test-"));
      writeFileSync(join(folder, "kernels.cu"), source);
      kernels = machineCodeOf(join(folder, "kernels.cu"), architecture);
    });
    afterAll(() => rmSync(folder, { recursive: true, force: true }));
    const of = (kernel: string) => kernels.get(kernel) ?? [];

    test("the inner loop comes before the loop around it, and its instructions are in both", () => {
      const [inner, outer, ...more] = loopsOf(of("nested"));
      expect(more).toEqual([]);
      expect(countByName(inner!)).toMatchObject({ "LDG.128": 1, FADD: 4, BRA: 1 });
      expect(countByName(inner!)).not.toHaveProperty("STG.128");
      expect(countByName(outer!)).toMatchObject({ "LDG.128": 1, "STG.128": 1, FADD: 4 });
      expect(outer).toEqual(expect.arrayContaining(inner!));
    });

    test("loads are counted until the first is waited for", () => {
      const [two] = loopsOf(of("together"));
      expect(countByName(two!)).toMatchObject({ "LDG.128": 2, "STG.128": 1 });
      expect(loadsTogether(two!)).toBe(2);
      const [one] = loopsOf(of("oneByOne"));
      expect(countByName(one!)).toMatchObject({ "LDG.128": 2, "STG.128": 2 });
      expect(loadsTogether(one!)).toBe(1);
    });

    test("a kernel without loops has none", () => {
      expect(loopsOf(of("straight"))).toEqual([]);
      expect(countByName(of("straight"))).toMatchObject({ "LDG.U16": 1, "STG.U16": 1 });
    });

    test("a 64-bit division is a call, and what it calls is not part of the loop", () => {
      const loops = loopsOf(of("divides"));
      expect(countByName(loops.at(-1)!)).toMatchObject({ CALL: 1 });
      expect(loops.at(-1)!.length).toBeLessThan(of("divides").length / 2);
    });

    test("every branch leads to an instruction of its kernel", () => {
      for (const instructions of kernels.values())
        for (const { target } of instructions) if (target !== undefined) expect(instructions[target]?.at).toBe(target);
    });
  },
);
