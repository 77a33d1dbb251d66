import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { numbers } from "../support/numbers.js";
import { readStored } from "../weights/support/read-stored.js";
import { float32, writeStored } from "../weights/support/stored.js";
import { exampleFolder, examplesIn, root } from "./support/examples.js";

const page = readFileSync(join(root, "docs/pytorch.md"), "utf8");
const [net, train, ...moreTypeScript] = examplesIn(page);
const [torchNet, begin, end, ...morePython] = [...page.matchAll(/```python\n([\s\S]*?)```/g)].map(([, text]) => text!);

const python = (folder: string, text: string) => {
  writeFileSync(join(folder, "block.py"), text);
  return spawnSync("python3", ["block.py"], { cwd: folder, encoding: "utf8" });
};
const installed = spawnSync("python3", ["-c", "import torch, safetensors"], { cwd: root }).status === 0;

/** The parameters of the example's model in PyTorch. */
const shapes: Record<string, readonly number[]> = {
  "conv.weight": [8, 3, 3, 3],
  "conv.bias": [8],
  "norm.weight": [8],
  "norm.bias": [8],
  "fc.weight": [10, 128],
  "fc.bias": [10],
};
const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

describe("docs/pytorch.md", () => {
  const { path, output } = exampleFolder();

  test("has exactly these blocks", () => {
    expect([net, train, torchNet, begin, end].every((block) => block !== undefined)).toBe(true);
    expect([...moreTypeScript, ...morePython]).toEqual([]);
  });

  test("the TypeScript blocks read PyTorch's files and write them with the same names and shapes", async () => {
    const file = (name: string) => join(path(), `${name}.safetensors`);
    const hashed = (shape: readonly number[], salt: number, center = 0) =>
      float32(shape, numbers(sizeOf(shape), salt, center));
    const entries = Object.entries(shapes);
    const weights = new Map(entries.map(([name, shape], i) => [name, hashed(shape, i)]));
    weights.set("norm.running_mean", hashed([8], 20)).set("norm.running_var", hashed([8], 21, 2));
    const state = new Map(
      entries.flatMap(([name, shape], i) => [
        [`${name}.step`, float32([], Float32Array.of(5))],
        [`${name}.exp_avg`, hashed(shape, 30 + i)],
        [`${name}.exp_avg_sq`, hashed(shape, 40 + i, 2)],
      ]),
    );
    writeStored(file("weights"), weights);
    writeStored(file("state"), state);
    writeStored(file("images"), new Map([["images", hashed([16, 8, 8, 3], 50)]]));
    writeFileSync(join(path(), "net.ts"), net!);
    expect(output(train!)).toBe("10 steps\n");
    for (const [name, before] of [
      ["weights", weights],
      ["state", state],
    ] as const) {
      const { stored } = await readStored(file(name));
      const shapesOf = (all: ReadonlyMap<string, { shape: readonly number[] }>) =>
        Object.fromEntries([...all].map(([key, { shape }]) => [key, shape]));
      expect(shapesOf(stored)).toEqual(shapesOf(before));
    }
  });

  test.skipIf(!installed)(
    `the round trip has the same result as PyTorch alone${installed ? "" : " (skipped: python3 has no torch and safetensors)"}`,
    () => {
      writeFileSync(join(path(), "net.py"), torchNet!);
      writeFileSync(join(path(), "net.ts"), net!);
      const run = (text: string) => {
        const { status, stdout, stderr } = python(path(), text);
        expect(status, stderr).toBe(0);
        return Number(stdout.match(/loss ([\d.]+)/)?.[1]);
      };
      run(begin!);
      expect(existsSync(join(path(), "state.safetensors"))).toBe(true);
      expect(output(train!)).toBe("10 steps\n");
      const loss = run(end!);
      const measured = begin!
        .replace("range(5)", "range(15)")
        .replace(/^ {4}(F\.cross_entropy.*)\.backward\(\)$/m, "    loss = $1\n    loss.backward()");
      const alone = run(`${measured}print(f"loss {loss:.5f}")\n`);
      expect(loss).toBeCloseTo(alone, 4);
    },
  );
});
