// The step's kernels as compiled by nvcc: their registers, and the number of bytes that they move at a time for each
// list.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { kernelsOf } from "../../scripts/kernel-report.mjs";

const hasNvcc = spawnSync("nvcc", ["--version"]).status === 0;
const source = join(import.meta.dirname, "update_kernels.cu");

// Rules by their mangled names, with the number of moments.
const rules = { "3Sgd": 0, "11SgdMomentum": 1, "4Adam": 2, "11AdamAmsgrad": 3, "4Lion": 1 };

// The storages of native/update/storage.h by their mangled names, with the bits of a parameter, a gradient, a moment
// and a copy. S5_ repeats the first bfloat16.
const storages = {
  IfffLb0EE: { parameter: 32, gradient: 32, moment: 32, copy: 0 },
  IffNS_8BFloat16ELb0EE: { parameter: 32, gradient: 32, moment: 16, copy: 0 },
  IfNS_8BFloat16EfLb1EE: { parameter: 32, gradient: 16, moment: 32, copy: 16 },
  IfNS_8BFloat16ES5_Lb1EE: { parameter: 32, gradient: 16, moment: 16, copy: 16 },
  INS_8BFloat16ES5_fLb0EE: { parameter: 16, gradient: 16, moment: 32, copy: 0 },
  INS_8BFloat16ES5_S5_Lb0EE: { parameter: 16, gradient: 16, moment: 16, copy: 0 },
};

/** The bits per element that a rule loads and stores in a storage, list by list in the order of UpdateTables. */
function listsOf(moments: number, storage: (typeof storages)[keyof typeof storages]) {
  const { parameter, gradient, moment, copy } = storage;
  const kept = Array.from({ length: moments }, (_, k) => ({ name: `moment ${k}`, loaded: moment, stored: moment }));
  return [
    { name: "parameter", loaded: parameter, stored: parameter },
    { name: "gradient", loaded: gradient, stored: 0 },
    ...kept,
    ...(copy > 0 ? [{ name: "copy", loaded: 0, stored: copy }] : []),
  ];
}

// Rules without moments have one instance for both moment types.
const instances = Object.entries(rules).flatMap(([rule, moments]) =>
  Object.entries(storages)
    .filter(([, { moment }]) => moments > 0 || moment === 32)
    .map(([types, storage]) => ({
      title: `${rule.replace(/\d+/, "")} of ${Object.values(storage).join("/")} bits`,
      name: `updateKernelINS_6update${rule}ENS2_7Storage${types}`,
      lists: listsOf(moments, storage),
    })),
);

/**
 * The minimum number of bytes that an aligned list moves at a time. Eight bfloat16 elements may need too many
 * registers.
 */
const fewestBytes = (bits: number) => (bits === 32 ? 16 : bits === 16 ? 8 : 0);

/** The PTX of each kernel by its mangled name. */
function bodiesOf(ptx: string): Map<string, string> {
  const bodies = ptx.split(".visible .entry ").slice(1);
  return new Map(bodies.map((body) => [body.match(/^(\w+)/)?.[1] ?? "", body]));
}

interface Access {
  /** Index of the list in UpdateTables, or undefined for chunks and scalars. */
  readonly list: number | undefined;
  readonly kind: "ld" | "st";
  readonly bytes: number;
}

/** Offset of the list addresses in UpdateTables, a kernel's first parameter. */
const listsAt = 16;

/**
 * A kernel's loads and stores of global memory. The list is found from the computation of the address: following the
 * 64-bit registers back leads to one parameter with the table of a list.
 */
function accessesOf(body: string): Access[] {
  // For each register, the inputs of its definitions: other registers or a parameter of the kernel.
  const reads = new Map<string, string[]>();
  for (const [, to = "", from = ""] of body.matchAll(/^\t(?:@%p\d+ )?[a-z][\w.:]*\s+(%rd\d+), (.*);$/gm)) {
    const parameter = from.match(/_param_0\+(\d+)\]/)?.[1];
    const found = parameter === undefined ? (from.match(/%rd\d+/g) ?? []) : [`list at ${parameter}`];
    reads.set(to, [...(reads.get(to) ?? []), ...found]);
  }
  const listOf = (register: string) => {
    const seen = new Set([register]);
    for (const name of seen) for (const next of reads.get(name) ?? []) seen.add(next);
    const tables = [...seen].filter((name) => name.startsWith("list at ")).map((name) => Number(name.slice(8)));
    expect(tables.length).toBeLessThanOrEqual(1);
    return tables[0] === undefined ? undefined : (tables[0] - listsAt) / 8;
  };
  const pattern =
    /\b(ld|st)\.(?:volatile\.)?global\.(?:[a-z]+\.)*?(?:v(\d)\.)?[a-z](\d+)\s+(?:\{[^}]*\}|%\w+)?,? ?\[(%rd\d+)/g;
  return [...body.matchAll(pattern)]
    .filter(([, , width, bits]) => width !== undefined || bits !== "64") // skips the load of an address from a table
    .map(([, kind, width = "1", bits, address = ""]) => ({
      list: listOf(address),
      kind: kind as "ld" | "st",
      bytes: (Number(width) * Number(bits)) / 8,
    }));
}

const mostBytes = (accesses: readonly Access[], list: number, kind: "ld" | "st") =>
  Math.max(0, ...accesses.filter((access) => access.list === list && access.kind === kind).map(({ bytes }) => bytes));

describe.skipIf(!hasNvcc)(`the step's kernels compiled by nvcc${hasNvcc ? "" : " (skipped: there is no nvcc)"}`, () => {
  let folder: string;
  let bodies: Map<string, string>;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "stepsize-nvcc-"));
    const output = join(folder, "kernels.ptx");
    // No contraction, because the CPU, the emulator and the device must give the same bits.
    const flags = ["-std=c++17", "-O3", "-fmad=false", "-arch=sm_90", "-ptx"];
    const { status, stderr } = spawnSync("nvcc", [...flags, source, "-o", output], { encoding: "utf8" });
    expect(status, stderr).toBe(0);
    bodies = bodiesOf(readFileSync(output, "utf8"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function bodyOf(name: string): string {
    const found = [...bodies].filter(([mangled]) => mangled.includes(name));
    expect(found.length, name).toBe(1);
    return found[0]?.[1] ?? "";
  }

  test.each(["sm_80", "sm_90"])("%s: no warnings, no spills, at most 64 registers per thread", (architecture) => {
    const kernels = kernelsOf(source, architecture);
    // Two kernels of the norm and one that prepares the step.
    expect(kernels.length).toBe(instances.length + 3);
    for (const { mangled: name, registers, stackBytes, spilledBytes } of kernels) {
      expect({ stackBytes, spilledBytes }, name).toEqual({ stackBytes: 0, spilledBytes: 0 });
      // With 64 registers four blocks of 256 threads fit on a multiprocessor, which is enough to use its memory
      // bandwidth.
      expect(registers, name).toBeLessThanOrEqual(64);
    }
  });

  test("there are 27 updates: five rules in six storages, and in three without moments", () => {
    expect(instances.length).toBe(27);
    for (const { name } of instances) bodyOf(name);
  });

  test.each(instances.map((instance) => [instance.title, instance] as const))(
    "%s: every list moves 16 bytes at a time, bfloat16 at least 8",
    (_, { name, lists }) => {
      const accesses = accessesOf(bodyOf(name));
      const widths = lists.map((list, index) => ({
        list: list.name,
        loads: Math.min(mostBytes(accesses, index, "ld"), fewestBytes(list.loaded)),
        stores: Math.min(mostBytes(accesses, index, "st"), fewestBytes(list.stored)),
      }));
      expect(widths).toEqual(
        lists.map((list) => ({
          list: list.name,
          loads: fewestBytes(list.loaded),
          stores: fewestBytes(list.stored),
        })),
      );
      // No list is loaded or stored unnecessarily. The stores to a gradient are its zeros.
      const touched = (kind: "ld" | "st") => lists.map((_, index) => mostBytes(accesses, index, kind) > 0);
      expect(touched("ld")).toEqual(lists.map(({ loaded }) => loaded > 0));
      expect(touched("st")).toEqual(lists.map(({ name: of, stored }) => stored > 0 || of === "gradient"));
      expect(mostBytes(accesses, 1, "st"), "zeros of the gradient").toBe(16);
    },
  );

  test.each([
    ["gradientNormKernelIf", 16],
    ["gradientNormKernelINS_8BFloat16", 8],
  ])("%s loads %i bytes at a time", (name, bytes) => {
    const widest = accessesOf(bodyOf(name)).filter(({ kind }) => kind === "ld");
    expect(Math.max(...widest.map((access) => access.bytes))).toBe(bytes);
  });

  // A missing fence shows neither in the emulator nor on x86. Without the first fence, another block may see the
  // count before the sum. Without the second, the last block may read an old sum.
  test.each(["gradientNormKernelIf", "gradientNormKernelINS_8BFloat16"])(
    "%s: the count of finished blocks is between two fences, and the sums are read past the caches",
    (name) => {
      const body = bodyOf(name);
      const order = /\b(?:bar\.sync|membar\.\w+|fence\.[\w.]+|(?:atom|red)\.[\w.]+|ld(?:\.volatile)?\.global\.[\w.]+)/g;
      const found = [...body.matchAll(order)].map(([instruction]) => instruction);
      const count = found.findIndex((instruction) => /^(atom|red)\./.test(instruction));
      const around = found.slice(count - 2, count + 3);
      expect(around).toEqual(["bar.sync", "membar.gl", "atom.global.add.u32", "membar.gl", "bar.sync"]);
      const reads = found.slice(count).filter((instruction) => instruction.startsWith("ld"));
      expect(reads.length).toBeGreaterThan(0);
      for (const read of reads) expect(read).toMatch(/^ld\.volatile/);
    },
  );

  test("no generic address is used, and updates compute in float32 throughout", () => {
    for (const [name, body] of bodies) {
      const spaces = [...body.matchAll(/\b(?:ld|st|atom|red)\.(?:volatile\.)?(\w+)/g)].map(([, space]) => space ?? "");
      expect(spaces.length, name).toBeGreaterThan(0);
      for (const space of spaces) expect(["global", "shared", "param", "local"], name).toContain(space);
      if (name.includes("updateKernel")) expect(body, name).not.toMatch(/\.f64/);
    }
  });
});
