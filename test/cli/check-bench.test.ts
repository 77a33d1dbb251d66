import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { temporaryFolders } from "../support/folders.js";
import { run } from "./support/cli.js";

const folder = temporaryFolders();

const row = z.strictObject({
  group: z.string(),
  name: z.string(),
  contender: z.enum(["stepsize", "captured", "PyTorch"]),
  milliseconds: z.strictObject({ median: z.number(), lower: z.number(), upper: z.number() }),
  rounds: z.int().min(1),
  cost: z.strictObject({ bytes: z.int(), flops: z.int() }),
  predictedMilliseconds: z.number().positive(),
  hostMicroseconds: z.number().positive(),
  rate: z.strictObject({ value: z.number().positive(), unit: z.enum(["GB/s", "TFLOP/s"]) }),
  share: z.number().positive().optional(),
});
const report = z.object({
  passed: z.boolean(),
  stages: z.array(z.object({ name: z.string(), cases: z.array(z.object({ name: z.string() })) })),
  bench: z.array(row),
});
const readReport = (file: string) => report.parse(JSON.parse(readFileSync(file, "utf8")));

describe("check --bench", () => {
  test("prints the rows of its groups and writes them into the report", async () => {
    const file = join(folder(), "report.json");
    const args = ["check", "--device", "cpu", "--stage", "bench", "--only", "copy,products", "--report", file];
    const { code, stdout, stderr } = await run(args);
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^copy\nmeasured +ms +quartiles +rate +of limit +H200 ms/m);
    expect(stdout).toMatch(/^matmul 64³ +\S+ +\S+–\S+ +\S+ TFLOP\/s +\d+ %/m);
    const { passed, bench } = readReport(file);
    expect(passed).toBe(true);
    expect(new Set(bench.map(({ group }) => group))).toEqual(new Set(["copy", "products"]));
    const copy = bench.find(({ group }) => group === "copy")!;
    expect(copy.rate.value).toBeCloseTo(copy.cost.bytes / copy.milliseconds.median / 1e6, 6);
    expect(copy.share).toBeUndefined();
    // The fastest product is the limit of the others.
    const products = bench.filter(({ group }) => group === "products");
    expect(Math.max(...products.map(({ share }) => share!))).toBe(1);
  });

  test("adds the stage to those that were chosen", async () => {
    const file = join(folder(), "report.json");
    const args = ["check", "--device", "cpu", "--stage", "device", "--bench", "--only", "copy", "--report", file];
    const { code, stderr } = await run(args);
    expect(code, stderr).toBe(0);
    expect(readReport(file).stages.map(({ name }) => name)).toEqual(["bench"]);
  });

  test("is not a part of a check that does not ask for it", async () => {
    const { code, stderr } = await run(["check", "--device", "cpu", "--only", "convolutions"], { cwd: folder() });
    expect(code).toBe(2);
    expect(stderr).toContain("--only: expected names among ");
  });
});
