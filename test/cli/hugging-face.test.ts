// Models in the layout of Hugging Face's transformers on the command line: tokens, training, resuming, text.
import { cpSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { type Batch, type Labels, tokens } from "#lib/data/index.js";
import { openDevice } from "#lib/native/index.js";
import { crossEntropy } from "#lib/nn/index.js";
import { noGrad, tensor } from "#lib/tensor/index.js";
import { generate } from "#lib/text/index.js";
import { loadHuggingFace, loadModel } from "#lib/weights/index.js";
import { temporaryFolders } from "../support/folders.js";
import { olmoFolder } from "../weights/support/olmo-folder.js";
import { lastLine, lossesOf, run } from "./support/cli.js";

const folder = temporaryFolders();
const idsOf = (labels: Labels) => Int32Array.from(labels instanceof Int32Array ? labels : labels.data);
const layouts = ["olmo-1b", "olmo-7b", "olmo2-1b"] as const;
let cwd: string;

async function passes(...args: string[]) {
  const outcome = await run(args, { cwd });
  expect(outcome.code, outcome.stderr).toBe(0);
  return outcome;
}

const trainOn = (model: string, ...more: string[]) => {
  const data = ["--data", `tokens:tokens-${model}`, "--context", "16", "--batch", "2", "--threads", "1"];
  return ["train", "--model", `hf:${model}`, ...data, "--budget", "4", "--checkpoint-every", "2", ...more];
};

beforeAll(async () => {
  cwd = folder();
  const texts = Array.from({ length: 5 }, (_, i) => `${i}.txt`);
  for (const name of texts) writeFileSync(join(cwd, name), `The step ${name} is computed before it begins. `.repeat(9));
  for (const layout of layouts) {
    await olmoFolder(cwd, layout);
    const out = ["--out", `tokens-${layout}`, "--validation", "0.2", "--test", "0.2"];
    await passes("tokenize", ...texts, ...out, "--tokenizer", `hf:${layout}`);
  }
});

describe.each(layouts)("a model in the layout of %s", (layout) => {
  test("is trained further, and resumed without its folder with the same losses", async () => {
    cpSync(join(cwd, layout), join(cwd, "moving"), { recursive: true });
    await passes(...trainOn(layout, "--model", "hf:moving", "--run", `run-${layout}`));
    rmSync(join(cwd, "moving"), { recursive: true });
    const losses = lossesOf(join(cwd, `run-${layout}`));
    expect(losses).toHaveLength(4);
    renameSync(join(cwd, `run-${layout}/checkpoints/step-4.safetensors`), join(cwd, `${layout}.safetensors`));
    const { stderr } = await passes("train", "--resume", `run-${layout}`);
    expect(stderr).toContain("continuing");
    expect(lossesOf(join(cwd, `run-${layout}`))).toEqual(losses);
  });
});

describe.each(["olmo-7b", "olmo2-1b"])("the model %s", (layout) => {
  test("starts with the loss of its weights, and writes text before and after the training", async () => {
    const device = await openDevice("cpu", { threads: 1 });
    const pretrained = await loadHuggingFace(join(cwd, layout), { device });
    const lossOf = ({ inputs, labels }: Batch) => {
      const [x, y] = [tensor(device, inputs.data, inputs.shape), tensor(device, idsOf(labels), inputs.shape)];
      return noGrad(() => crossEntropy(pretrained.model.forward(x), y)).item();
    };
    const open = (split: "train" | "test") => tokens(join(cwd, `tokens-${layout}`), { split, context: 16 });
    const batches = (await open("train")).batches({ size: 2, seed: 0 });
    // The CPU's results do not depend on the number of threads.
    expect(lossesOf(join(cwd, `run-${layout}`))[0]!.loss).toBe(await lossOf(await batches.at(0)));
    await batches.close();

    const test = await open("test");
    const all = test.batches({ size: test.length });
    const data = ["--data", `tokens:tokens-${layout}`, "--context", "16", "--batch", `${test.length}`];
    const { loss, checkpoint } = lastLine((await passes("evaluate", `hf:${layout}`, ...data, "--json")).stdout);
    expect(checkpoint).toBe(`hf:${layout}`);
    for await (const batch of all.once()) expect(loss).toBeCloseTo(await lossOf(batch), 5);
    await all.close();

    const options = { prompt: "The step", tokens: 4 };
    const texts = [
      [["--model", `hf:${layout}`], pretrained],
      [[`run-${layout}`], await loadModel(join(cwd, `run-${layout}/checkpoints/step-4.safetensors`), { device })],
    ] as const;
    for (const [args, loaded] of texts) {
      let text = options.prompt;
      for await (const piece of generate(loaded, options)) text += piece;
      expect(text.length).toBeGreaterThan(options.prompt.length);
      const generated = await passes(
        "generate",
        ...args,
        "--prompt",
        options.prompt,
        "--tokens",
        "4",
        "--threads",
        "1",
      );
      expect(generated.stdout).toBe(`${text}\n`);
    }
    await device.close();
  });
});

test("is exported into a folder that is read again, and with its tokenizer", async () => {
  const out = "tuned/model.safetensors";
  await passes("export", "--checkpoint", "run-olmo2-1b", "--to", "safetensors", "--out", out);
  for (const name of ["config.json", "tokenizer.json", "tokenizer_config.json"])
    cpSync(join(cwd, "olmo2-1b", name), join(cwd, "tuned", name));
  const options = ["--prompt", "The step", "--tokens", "6", "--temperature", "0"];
  const [tuned, run] = [
    await passes("generate", "hf:tuned", ...options),
    await passes("generate", "run-olmo2-1b", ...options),
  ];
  expect(tuned.stdout).toBe(run.stdout);
  const header = readFileSync(join(cwd, out)).subarray(8, 60_000).toString("latin1");
  expect(header).toContain('\\"kind\\":\\"huggingface\\"');
  expect(header).toContain("model.layers.1.self_attn.q_norm.weight");
});

describe("a wrong use is one line with what to do:", () => {
  const data = ["--data", "tokens:tokens-olmo-7b", "--context", "16", "--batch", "2"];

  test.each<[string, readonly string[], number, string]>([
    ["no folder", ["train", "--model", "hf:", ...data], 2, "--model: expected one of"],
    [
      "a folder that is not there",
      ["train", "--model", "hf:none", ...data],
      1,
      "none/config.json: there is no such file",
    ],
    ["images", ["train", "--model", "hf:olmo-7b"], 2, "--model: expected hf:<dir> only with data tokens:<dir>"],
    ["weights", ["train", "--model", "hf:olmo-7b", ...data, "--weights", "x"], 2, "--weights: expected none with"],
    ["another tokenizer", ["train", "--model", "hf:olmo2-1b", ...data], 2, "stepsize tokenize --tokenizer hf:"],
    [
      "a longer context",
      ["train", "--model", "hf:olmo-7b", "--data", "tokens:tokens-olmo-7b", "--context", "65", "--batch", "1"],
      2,
      "context: expected at most 64 tokens",
    ],
    [
      "both",
      ["generate", "--model", "hf:olmo-7b", "--checkpoint", "run"],
      2,
      "--model: expected either hf:<dir> or a checkpoint, got both",
    ],
    ["another model", ["generate", "--model", "olmo-nano"], 2, "--model: expected hf:<dir>, a folder"],
    [
      "the tokens of another",
      ["evaluate", "hf:olmo2-1b", "--data", "tokens:tokens-olmo-7b", "--context", "16"],
      2,
      "the tokenizer of hf:olmo2-1b, huggingface, got another",
    ],
    ["the optimizer's state", ["curvature", "hf:olmo-7b", ...data.slice(0, 2), "--adam"], 2, "has no optimizer state"],
    ["a tokenizer without a folder", ["tokenize", "0.txt", "--out", "x", "--tokenizer", "hf"], 2, "or hf:<dir>"],
    [
      "a folder without a tokenizer",
      ["tokenize", "0.txt", "--out", "x", "--tokenizer", "hf:."],
      1,
      "tokenizer.json: there is no such file",
    ],
  ])("%s", async (_, args, code, words) => {
    const outcome = await run(args, { cwd });
    expect(outcome.stderr).toContain(words);
    expect(outcome.stderr.trimEnd().split("\n")).toHaveLength(1);
    expect(outcome.code).toBe(code);
  });

  test("a shard that is missing or cut short, by its name", async () => {
    const path = join(cwd, "damaged");
    cpSync(join(cwd, "olmo-7b"), path, { recursive: true });
    const shard = join(path, "model-00002-of-00002.safetensors");
    truncateSync(shard, 90_000);
    const args = ["generate", "hf:damaged"];
    expect((await run(args, { cwd })).stderr).toContain("model-00002-of-00002.safetensors, byte 42280: expected");
    renameSync(shard, `${shard}.old`);
    expect((await run(args, { cwd })).stderr).toContain("model-00002-of-00002.safetensors: there is no such file");
  });
});
