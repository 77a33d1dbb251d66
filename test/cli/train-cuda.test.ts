// `stepsize train` whole on the emulated GPU: its losses are the CPU's, and those of its own second run to the bit.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { findAddon } from "#lib/native/index.js";
import { corpus, wordsOf } from "../data/support/corpus.js";
import { temporaryFolders } from "../support/folders.js";
import { lastLine, lossesOf, run } from "./support/cli.js";
import { classCount, tinyData } from "./support/tiny-data.js";

const folder = temporaryFolders();
const budget = 5;
const skip = findAddon("cuda-emulated").addon === undefined;

async function imagesIn(cwd: string): Promise<string[]> {
  return ["--model", "resnet8", "--data", `idx:${tinyData(cwd)}`, "--classes", `${classCount}`, "--batch", "8"];
}

async function textIn(cwd: string): Promise<string[]> {
  corpus(cwd, Object.fromEntries(Array.from({ length: 4 }, (_, i) => [`texts/${i}.txt`, wordsOf(i, 100)])));
  const made = await run(["tokenize", "texts", "--out", "tokens", "--test", "0.25"], { cwd });
  expect(made.code, made.stderr).toBe(0);
  return ["--model", "olmo-nano", "--data", "tokens:tokens", "--batch", "1", "--context", "16"];
}

describe.skipIf(skip).each([
  ["a residual network with augmented images", imagesIn, ["--augment", "--optimizer", "sgd", "--max-lr", "0.05"]],
  ["a transformer on text", textIn, ["--clip-norm", "1", "--max-lr", "0.002"]],
] as const)("%s", (_, dataIn, more) => {
  test("has the losses of the CPU on the emulated GPU, and the same bits in a second run", async () => {
    const cwd = folder();
    const args = ["train", ...(await dataIn(cwd)), ...more, "--budget", `${budget}`, "--json"];
    const losses = async (device: string, name: string, ...others: string[]) => {
      const { code, stdout, stderr } = await run([...args, "--device", device, "--run", name, ...others], { cwd });
      expect(code, stderr).toBe(0);
      expect(lastLine(stdout)).toMatchObject({ steps: budget, device });
      return lossesOf(join(cwd, name));
    };
    const first = await losses("cuda:emulated", "first");
    // The second time captured and replayed.
    expect(await losses("cuda:emulated", "second", "--capture")).toEqual(first);
    const onCpu = await losses("cpu", "cpu");
    // Sums in another order differ by 1e-7, which a few steps of a large rate carry on; a kernel that is wrong, such as
    // a batch norm with the biased variance, differs by 1e-2.
    for (const [i, { loss }] of first.entries()) expect(loss / onCpu[i]!.loss, `step ${i}`).toBeCloseTo(1, 4);
    expect(first.at(-1)!.loss).not.toBe(first[0]!.loss);
  });
});

describe.skipIf(skip)("products in TF32", () => {
  test("are used from the first step to a resumed one, and stored in the settings", async () => {
    const cwd = folder();
    const data = ["--data", `idx:${tinyData(cwd)}`, "--classes", `${classCount}`, "--batch", "8"];
    const args = ["train", "--model", "mlp", ...data, "--max-lr", "0.01", "--device", "cuda:emulated", "--budget", "4"];
    const losses = async (name: string, ...more: string[]) => {
      const { code, stderr } = await run([...args, "--run", name, ...more], { cwd });
      expect(code, stderr).toBe(0);
      return { stderr, losses: lossesOf(join(cwd, name)).map(({ loss }) => loss) };
    };
    const exact = await losses("float32");
    const rounded = await losses("tf32", "--precision", "tf32", "--checkpoint-every", "2");
    expect(rounded.stderr).toContain("with products in TF32");
    expect(exact.stderr).not.toContain("TF32");
    expect(JSON.parse(readFileSync(join(cwd, "tf32/config.json"), "utf8"))).toMatchObject({ precision: "tf32" });
    // An error of 2⁻¹⁰ in each product changes the first loss by much less than its size.
    expect(rounded.losses[0]! / exact.losses[0]!).toBeCloseTo(1, 3);
    expect(rounded.losses).not.toEqual(exact.losses);
    // The same bits from a captured step.
    expect((await losses("captured", "--precision", "tf32", "--capture")).losses).toEqual(rounded.losses);

    const resume = (...more: string[]) => run(["train", "--resume", "tf32", ...more], { cwd });
    expect((await resume("--precision", "float32")).stderr).toContain('the run to resume has "tf32"');
    const onCpu = await resume("--device", "cpu");
    expect(onCpu.stderr).toContain("precision: expected float32 or bf16 on a CPU, got tf32");
    const longer = await resume("--allow", "schedule", "--budget", "6");
    expect(longer.code, longer.stderr).toBe(0);
    expect(longer.stderr).toContain("with products in TF32");
    // The weights are float32, so that any device can use them.
    const evaluated = await run(["evaluate", "tf32", "--device", "cpu"], { cwd });
    expect(evaluated.code, evaluated.stderr).toBe(0);
  });
});
