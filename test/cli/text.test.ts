import { cpSync, readFileSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { openDevice } from "#lib/native/index.js";
import { generate as generateText } from "#lib/text/index.js";
import { loadModel, readCheckpoint } from "#lib/weights/index.js";
import { corpus, wordsOf } from "../data/support/corpus.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import { lastLine, linesIn, lossesOf, metricsOf, type Outcome, run, start } from "./support/cli.js";
import { tinyData, trainTiny } from "./support/tiny-data.js";

const folder = temporaryFolders();
let cwd: string;
const size = ["--batch", "4", "--context", "16", "--threads", "1"];
const tiny = ["train", "--data", "tokens:tokens", ...size];

beforeAll(async () => {
  const texts = Array.from({ length: 20 }, (_, i) => [`texts/${i}.txt`, wordsOf(i, 400)] as const);
  cwd = corpus(folder(), Object.fromEntries(texts));
  const made = await run(["tokenize", "texts", "--out", "tokens", "--validation", "0.1", "--test", "0.1"], { cwd });
  expect(made.code, made.stderr).toBe(0);
});

describe("a run on text", () => {
  let outcome: Outcome;
  const folderOf = (name: string) => join(cwd, name);

  beforeAll(async () => {
    const more = ["--budget", "30", "--evaluate-every", "10", "--checkpoint-every", "10", "--run", "run", "--json"];
    outcome = await run([...tiny, ...more], { cwd });
    expect(outcome.code, outcome.stderr).toBe(0);
  });

  test("prints tokens, nats per token and perplexity", () => {
    const { stderr } = outcome;
    expect(stderr).toMatch(/^olmo-nano, [\d,]+ parameters, on tokens:.*\/tokens$/m);
    expect(stderr).toMatch(/^6,400 tokens to train, 800 to validate, 800 to test$/m);
    expect(stderr).toMatch(/^step 30\/30 {2}loss .* [\d,]+ tokens\/s /m);
    const score = /loss \d\.\d+ nats per token, perplexity [\d.]+, the next token right in \d+\.\d\d %/;
    expect(stderr).toMatch(new RegExp(`^after step 10: validation ${score.source}$`, "m"));
    expect(stderr).toMatch(new RegExp(`^test +${score.source}$`, "m"));
    expect(stderr).toMatch(new RegExp(`^validation +${score.source}$`, "m"));
  });

  test("prints and stores its result, with e to the power of the loss as perplexity", () => {
    const printed = lastLine(outcome.stdout);
    const kept = JSON.parse(readFileSync(join(folderOf("run"), "result.json"), "utf8"));
    expect(printed).toMatchObject({ steps: 30, budget: 30, run: "run", testLoss: kept.testLoss });
    expect(printed.testPerplexity).toBeCloseTo(Math.exp(kept.testLoss), 12);
    expect(kept.validationPerplexity).toBeCloseTo(Math.exp(kept.validationLoss), 12);
    // There are eleven characters, of which some are likelier: it has learned that, and little more.
    expect(kept.testLoss).toBeLessThan(Math.log(11) + 0.2);
    expect(kept.testAccuracy).toBeGreaterThan(0.1);
    expect(kept.itemsPerSecond).toBeCloseTo((30 * 4) / kept.seconds, 6);
  });

  test("stores its settings, and its tokenizer in the checkpoint", async () => {
    const settings = JSON.parse(readFileSync(join(folderOf("run"), "config.json"), "utf8"));
    expect(settings).toMatchObject({ model: "olmo-nano", context: 16, data: `tokens:${join(cwd, "tokens")}` });
    const { info } = await readCheckpoint(join(folderOf("run"), "checkpoints/step-30.safetensors"));
    expect(info.text).toEqual({ tokenizer: { kind: "bytes" }, context: 16 });
    expect(info.run["data"]).toMatchObject({ dataset: "tokens (train)", context: 16, size: 4, seed: 0 });
    const page = readFileSync(join(folderOf("run"), "report.html"), "utf8");
    expect(page).toContain("30 steps of 64 tokens");
    expect(page).toContain("Test perplexity");
  });

  test("has samples of text, which are those of the weights after the step", async () => {
    const lines = readFileSync(join(folderOf("run"), "samples.jsonl"), "utf8")
      .trimEnd()
      .split("\n");
    const samples = lines.map((line): { step: number; prompt: string; text: string } => JSON.parse(line));
    expect(samples.map(({ step }) => step)).toEqual([10, 20, 30]);
    const device = await openDevice("cpu", { threads: 1 });
    for (const { step, prompt, text } of samples) {
      expect(prompt).toHaveLength(16);
      const loaded = await loadModel(join(folderOf("run"), `checkpoints/step-${step}.safetensors`), { device });
      let made = "";
      for await (const piece of generateText(loaded, { prompt, tokens: 64 })) made += piece;
      expect(made).toBe(text);
    }
    await device.close();
  });

  test("has the same bits if it is interrupted and resumed", async () => {
    const args = [...tiny, "--budget", "120", "--checkpoint-every", "10"];
    const whole = await run([...args, "--run", "whole"], { cwd });
    expect(whole.code, whole.stderr).toBe(0);
    const interrupt = { signal: "SIGINT", file: join(cwd, "part/metrics.jsonl"), lines: 15 } as const;
    expect((await run([...args, "--run", "part"], { cwd, interrupt })).code).toBe(130);
    expect(metricsOf(folderOf("part")).length).toBeLessThan(120);
    const resumed = await run(["train", "--resume", "part"], { cwd });
    expect(resumed.code, resumed.stderr).toBe(0);
    expect(lossesOf(folderOf("part"))).toEqual(lossesOf(folderOf("whole")));
  });

  test("is not resumed on other text", async () => {
    const other = await run(["tokenize", "texts", "--out", "other/tokens", "--seed", "5"], { cwd });
    expect(other.code).toBe(0);
    const args = [...tiny, "--budget", "4", "--checkpoint-every", "2", "--run", "moved"];
    expect((await run(args, { cwd })).code).toBe(0);
    const config = readFileSync(join(folderOf("moved"), "config.json"), "utf8");
    corpus(cwd, { "moved/config.json": config.replace("/tokens", "/other/tokens") });
    const resumed = await run(["train", "--resume", "moved"], { cwd });
    expect(resumed.code).toBe(1);
    expect(resumed.stderr).toContain("the checkpoint is of another run: the data was");
  });

  test("ends with an error that names the file if its text is damaged during training", async () => {
    cpSync(join(cwd, "tokens"), join(cwd, "damaged"), { recursive: true });
    const args = ["train", "--data", "tokens:damaged", ...size, "--budget", "100000", "--checkpoint-every", "5"];
    const { done } = start([...args, "--run", "damaged-run"], { cwd });
    await linesIn(join(cwd, "damaged-run/metrics.jsonl"), 12);
    truncateSync(join(cwd, "damaged/train.tokens"), 100);
    const { code, stderr } = await done;
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /error: the data of step \d+ of 100000: .*train\.tokens: byte \d+: .*the end of the file at/,
    );
    expect(stderr).toMatch(/The last checkpoint is damaged-run\/checkpoints\/step-\d+\.safetensors\./);
  });
});

describe("stepsize evaluate on text", () => {
  test("has the results of the run on the given split", async () => {
    const result = JSON.parse(readFileSync(join(cwd, "run/result.json"), "utf8"));
    const test = await run(["evaluate", "--checkpoint", "run", "--threads", "1", "--json"], { cwd });
    expect(test.code, test.stderr).toBe(0);
    expect(lastLine(test.stdout)).toEqual({
      checkpoint: "run/checkpoints/step-30.safetensors",
      step: 30,
      data: `tokens:${join(cwd, "tokens")}`,
      split: "test",
      items: 50,
      tokens: 800,
      loss: result.testLoss,
      accuracy: result.testAccuracy,
      perplexity: result.testPerplexity,
    });
    const held = await run(["evaluate", "--checkpoint", "run", "--split", "validation"], { cwd });
    expect(held.stdout).toContain("on tokens (validation), 800 tokens\nloss ");
    expect(held.stdout).toContain("nats per token, perplexity ");
  });

  test("refuses text of another tokenizer, and images", async () => {
    const made = await run(["tokenize", "texts", "--out", "gpt2", "--tokenizer", "gpt2"], { cwd });
    expect(made.code).toBe(0);
    const other = await run(["evaluate", "--checkpoint", "run", "--data", "tokens:gpt2"], { cwd });
    expect(other.code).toBe(2);
    expect(other.stderr).toMatch(
      /--data: expected the tokenizer of .*step-30\.safetensors, bytes, got gpt2 in gpt2 \(test\)/,
    );
    const images = await run(["evaluate", "--checkpoint", "run", "--data", "mnist"], { cwd });
    expect(images.code).toBe(2);
    expect(images.stderr).toContain("--data: expected tokens:<dir> for a text model, got mnist");
  });
});

describe("stepsize generate", () => {
  const generate = (...more: string[]) => run(["generate", "--checkpoint", "run", "--threads", "1", ...more], { cwd });

  test("continues the prompt on standard output, differently for each seed", async () => {
    const [first, same, other] = [
      await generate("--prompt", "abc", "--tokens", "40"),
      await generate("--prompt", "abc", "--tokens", "40"),
      await generate("--prompt", "abc", "--tokens", "40", "--seed", "1"),
    ];
    expect(first.code, first.stderr).toBe(0);
    expect(first.stdout).toMatch(/^abc.+\n$/s);
    expect(first.stdout).not.toContain("\x1b");
    expect(first.stderr).toMatch(/^\d+ tokens in .*, [\d,]+ tokens\/s(, the end of the document)?\n$/);
    expect(same.stdout).toBe(first.stdout);
    expect(other.stdout).not.toBe(first.stdout);
    // What it has seen: eleven characters.
    expect(first.stdout.slice(3, -1)).toMatch(/^[abcdefgh. ]*$/);
  });

  test("prints what generate() yields in code, for the same options", async () => {
    const printed = await generate("--prompt", "ab", "--tokens", "30", "--seed", "2", "--top-k", "5");
    const device = await openDevice("cpu", { threads: 1 });
    const loaded = await loadModel(join(cwd, "run/checkpoints/step-30.safetensors"), { device });
    const pieces: string[] = [];
    const options = { prompt: "ab", tokens: 30, seed: 2, topK: 5 };
    for await (const piece of generateText(loaded, options)) pieces.push(piece);
    expect(pieces.length).toBeGreaterThan(1);
    expect(printed.stdout).toBe(`ab${pieces.join("")}\n`);
    // The signal ends the text between two tokens.
    const controller = new AbortController();
    let seen = 0;
    for await (const _ of generateText(loaded, { ...options, signal: controller.signal }))
      if (++seen === 3) controller.abort();
    expect(seen).toBe(3);
    await expectError(() => generateText({ ...loaded, card: {} }), "invalid-argument", "loaded: expected a text model");
    await expectError(() => generateText(loaded, { temperature: -1 }), "invalid-argument", "temperature: expected");
    await device.close();
  });

  test("takes the likeliest token at temperature 0 or with --top-k 1, whatever the seed", async () => {
    const texts = [
      await generate("--tokens", "10", "--temperature", "0"),
      await generate("--tokens", "10", "--temperature", "0", "--seed", "3"),
      await generate("--tokens", "10", "--top-k", "1", "--seed", "4"),
    ];
    expect(new Set(texts.map(({ stdout }) => stdout)).size).toBe(1);
    expect(texts[0]?.stdout).toMatch(/^[^\n]{10}\n$/);
  });

  test("reports which part of a long prompt the model uses", async () => {
    const { stdout, stderr } = await generate("--prompt", "abcd efgh. ".repeat(3), "--tokens", "1");
    expect(stdout.length).toBe(33 + 2);
    expect(stderr).toContain("the prompt has 33 tokens; the model sees only the last 16\n");
  });

  test("ends with a complete line if it is interrupted", async () => {
    const { child, done } = start(["generate", "--checkpoint", "run", "--tokens", "1000000"], { cwd });
    child.stdout?.once("data", () => child.kill("SIGINT"));
    const { code, stdout, stderr } = await done;
    expect(stderr).toMatch(/^interrupted after \d+ tokens?\n$/);
    expect(code).toBe(130);
    expect(stdout).toMatch(/\n$/);
  });
});

test("generate refuses an image classifier, and predict refuses a text model", async () => {
  const images = trainTiny(tinyData(folder()), "--budget", "2", "--run", "images");
  expect((await run(images, { cwd })).code).toBe(0);
  const written = await run(["generate", "--checkpoint", "images"], { cwd });
  expect(written).toMatchObject({ code: 1, stdout: "" });
  expect(written.stderr).toMatch(/: expected a text model, got an image classifier; use stepsize predict\n$/);
  const seen = await run(["predict", "--checkpoint", "run", "a.pgm"], { cwd });
  expect(seen).toMatchObject({ code: 1, stdout: "" });
  expect(seen.stderr).toMatch(/: expected an image classifier, got a text model; use stepsize generate\n$/);
  const validation = await run(["evaluate", "--checkpoint", "images", "--split", "validation"], { cwd });
  expect(validation.code).toBe(2);
  expect(validation.stderr).toContain('has (train or test), got "validation"');
});
