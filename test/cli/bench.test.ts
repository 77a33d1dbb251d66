import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { findAddon } from "#lib/native/index.js";
import { temporaryFolders } from "../support/folders.js";
import { run } from "./support/cli.js";

const folder = temporaryFolders();

const spread = z.object({ median: z.number().positive(), lower: z.number().positive(), upper: z.number().positive() });
const baseline = z.object({
  milliseconds: spread,
  ratio: z.number().positive(),
  launches: z.int().nullable(),
  kind: z.string().optional(),
});
const row = z.strictObject({
  name: z.string(),
  tensors: z.int(),
  elements: z.int(),
  optimizer: z.enum(["adamw", "adam", "sgd", "momentum", "lion"]),
  dtype: z.enum(["float32", "bfloat16-master", "bfloat16"]),
  moments: z.enum(["float32", "bfloat16"]),
  threads: z.int().nullable(),
  rounds: z.int(),
  bytes: z.int(),
  milliseconds: spread,
  replayedMilliseconds: spread,
  wallMilliseconds: spread,
  gigabytesPerSecond: z.number().positive(),
  launches: z.int(),
  hostMicroseconds: z.object({ eager: z.number().positive(), replayed: z.number().positive() }),
  baselines: z.partialRecord(z.enum(["loop", "copy", "per-tensor", "torch"]), baseline),
});
const result = z.strictObject({
  command: z.string(),
  date: z.iso.datetime(),
  version: z.string(),
  commit: z.string().nullable(),
  node: z.literal(process.version),
  cpu: z.string(),
  cpus: z.int(),
  device: z.record(z.string(), z.string()),
  torch: z.string().nullable(),
  notes: z.array(z.string()),
  rows: z.array(row).min(1),
});
const quick = ["--rounds", "1", "--baseline", "loop,per-tensor"];

describe("bench optimizer", () => {
  test("prints a table, and writes the measurements as JSON and as a figure", async () => {
    const at = folder();
    const shapes = join(at, "shapes.json");
    writeFileSync(shapes, "[[30, 20], [7]]");
    const [json, svg] = [join(at, "result.json"), join(at, "result.svg")];
    const files = ["--shapes", shapes, "--out", json, "--svg", svg];
    const args = ["bench", "optimizer", "--device", "cpu", "--sizes", "4x100", "--threads", "1,2", ...quick, ...files];
    const { code, stdout, stderr } = await run(args);
    expect(code, stderr).toBe(0);
    const [title, head, ...lines] = stdout.trimEnd().split("\n");
    expect(title).toMatch(/^adamw on cpu \(.+, (avx512|avx2|neon|portable)\)$/);
    for (const column of [
      "tensors",
      "ms",
      "GB/s",
      "of loop",
      "launches",
      "replayed",
      "wall",
      "host µs",
      "replayed µs",
      "per-tensor",
    ])
      expect(head).toContain(column);
    expect(head).not.toContain("torch");
    expect(lines).toHaveLength(4);
    expect(stderr).toMatch(/^4 × 100, float32, 1 thread: .+ ms, .+ GB\/s, .+ % of the loop$/m);

    const written = result.parse(JSON.parse(readFileSync(json, "utf8")));
    expect(written.command).toBe(["npx stepsize", ...args].join(" "));
    expect(written.device).toMatchObject({ name: "cpu", kernels: expect.any(String) });
    expect(written.rows.map(({ name, threads }) => [name, threads])).toEqual([
      ["4 × 100", 1],
      ["shapes.json", 1],
      ["4 × 100", 2],
      ["shapes.json", 2],
    ]);
    expect(written.rows[1]).toMatchObject({ tensors: 2, elements: 607, bytes: 607 * 28, launches: 2 });
    expect(written.rows[1]?.baselines["per-tensor"]?.launches).toBe(4);

    const drawing = readFileSync(svg, "utf8");
    expect(drawing).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg"/);
    for (const words of ["prefers-color-scheme:dark", "float32, 2 threads", "per-tensor", "GB/s", "elements"])
      expect(drawing).toContain(words);
  });

  test.skipIf(!findAddon("cuda-emulated").addon)("runs on the emulated GPU, with a copy as a baseline", async () => {
    const json = join(folder(), "result.json");
    const args = ["--device", "cuda:emulated", "--sizes", "3x500", "--dtype", "bfloat16", "--rounds", "1"];
    const { code, stdout, stderr } = await run(["bench", "optimizer", ...args, "--out", json]);
    expect(code, stderr).toBe(0);
    expect(stdout).toContain("of copy");
    expect(stderr).toContain("without torch: PyTorch does not support the emulated GPU");
    const [only] = result.parse(JSON.parse(readFileSync(json, "utf8"))).rows;
    expect(only).toMatchObject({ threads: null, bytes: 1500 * 22, launches: 2 });
    expect(Object.keys(only?.baselines ?? {})).toEqual(["loop", "copy", "per-tensor"]);
  });

  test("shows the results so far if it is interrupted", async () => {
    const json = join(folder(), "result.json");
    const sizes = ["--sizes", "100,200,300,400,500,600,700,800", "--threads", "1", "--out", json];
    const interrupt = { signal: "SIGINT", says: "1 × 200" } as const;
    const bench = ["bench", "optimizer", "--device", "cpu", ...quick, ...sizes];
    const { code, stdout, stderr } = await run(bench, { interrupt });
    expect(code, stderr).toBe(130);
    expect(stderr).toContain("interrupted; the table has the results so far");
    const { rows } = result.parse(JSON.parse(readFileSync(json, "utf8")));
    expect(rows.length).toBeGreaterThanOrEqual(2);
    expect(rows.length).toBeLessThan(8);
    expect(stdout.trimEnd().split("\n")).toHaveLength(rows.length + 2);
  });
});

describe("a usage error of bench exits with 2 and one message", () => {
  test.concurrent.each([
    ["nothing to measure", [], "what: expected optimizer, got none"],
    ["an unknown measurement", ["gemm"], 'what: expected optimizer, got "gemm"'],
    ["an unknown optimizer", ["optimizer", "--optimizer", "adamx"], "did you mean adamw?"],
    [
      "an unknown storage",
      ["optimizer", "--dtype", "float16"],
      '--dtype: expected one of float32, bfloat16-master, bfloat16, got "float16"; did you mean bfloat16?',
    ],
    ["unknown moments", ["optimizer", "--moments", "half"], "--moments: expected one of float32, bfloat16"],
    [
      "an invalid size",
      ["optimizer", "--sizes", "1e6,big"],
      '--sizes: expected elements such as 1e6, or tensors x elements such as 1000x1e4, got "big"',
    ],
    [
      "an unknown model",
      ["optimizer", "--shapes", "resnet51"],
      "--shapes: expected one of resnet50, olmo-36m, olmo-300m, or a .json file",
    ],
    ["an unknown baseline", ["optimizer", "--baseline", "loops"], "did you mean loop?"],
    ["no rounds", ["optimizer", "--rounds", "0"], "--rounds: expected a whole number from 1 to 1000, got 0"],
    ["no threads", ["optimizer", "--threads", "0"], '--threads: expected whole numbers from 1 to 1024, got "0"'],
    ["an unknown device", ["optimizer", "--device", "tpu"], 'device: expected "auto", "cpu"'],
    [
      "a copy on the CPU",
      ["optimizer", "--device", "cpu", "--baseline", "copy"],
      "--baseline: expected an available baseline, got copy: on a CPU",
    ],
    [
      "a missing folder",
      ["optimizer", "--out", "/no/such/folder/x.json"],
      "--out: expected a file in a writable folder",
    ],
  ])("%s", async (_, args, message) => {
    const { code, stdout, stderr } = await run(["bench", ...args]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(message);
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  test("a missing file of shapes is an error, and nothing is written", async () => {
    const json = join(folder(), "result.json");
    const { code, stderr } = await run(["bench", "optimizer", "--shapes", "/no/such.json", "--out", json]);
    expect(code).toBe(1);
    expect(stderr).toContain("--shapes: /no/such.json: there is no such file");
    expect(existsSync(json)).toBe(false);
  });
});
