import { describe, expect, test } from "vitest";
import { sourcesInWords } from "#lib/tasks/index.js";
import { run } from "./support/cli.js";

const commands = [
  "train",
  "find-lr",
  "evaluate",
  "predict",
  "export",
  "tokenize",
  "generate",
  "schedule",
  "curvature",
  "compare",
  "bench",
  "check",
  "info",
];

describe("help and version", () => {
  test.concurrent("--version prints the version of the package", async () => {
    const { code, stdout } = await run(["--version"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  test.concurrent("--help lists every command and the exit codes", async () => {
    const { code, stdout } = await run(["--help"]);
    expect(code).toBe(0);
    for (const command of commands) expect(stdout).toMatch(new RegExp(`^  ${command} `, "m"));
    expect(stdout).toContain("130  interrupted");
  });

  test.concurrent.each(commands)("%s --help shows examples", async (command) => {
    const [direct, throughHelp] = await Promise.all([run([command, "--help"]), run(["help", command])]);
    expect(direct.code).toBe(0);
    expect(direct.stdout).toMatch(new RegExp(`Examples:\\n  stepsize ${command}`));
    expect(throughHelp.stdout).toBe(direct.stdout);
  });

  test.concurrent("train --help lists the defaults", async () => {
    const { stdout } = await run(["train", "--help"]);
    for (const words of ["default: resnet8", "default: 600", "default: uba", "default: 0.01 for adamw"])
      expect(stdout.replace(/\s+/g, " ")).toContain(words);
  });
});

describe("a usage error exits with 2 and one message", () => {
  test.concurrent.each([
    ["no command", [], "Usage: stepsize"],
    ["an unknown command", ["trian"], "Did you mean train?"],
    ["an unknown flag", ["train", "--bugdet", "5"], "Did you mean --budget?"],
    ["a flag of another program", ["train", "--dataset", "mnist"], "Did you mean --data?"],
    ["a rate in two words", ["train", "--lr", "1", "--max-lr", "1"], "--lr: expected either this flag or --max-lr"],
    ["epochs and steps", ["train", "--epochs", "1", "--steps", "5"], "--epochs: expected either epochs or a budget"],
    [
      "epochs of a resumed run",
      ["train", "--resume", "runs/1", "--epochs", "1"],
      "--epochs: a resumed run has a budget",
    ],
    [
      "a run in two ways",
      ["evaluate", "runs/1", "--checkpoint", "runs/1"],
      "run: expected either the path of a run or",
    ],
    ["a run that is not there", ["generate", "runs/none"], "--checkpoint: expected a file or folder, runs/none"],
    ["a flag without its value", ["train", "--budget"], "argument missing"],
    ["too many arguments", ["info", "more"], "too many arguments"],
    ["an unknown model", ["train", "--model", "resnet9"], "did you mean resnet8?"],
    ["an unknown schedule", ["train", "--schedule", "cosin"], "did you mean cosine?"],
    ["an unknown schedule to draw", ["schedule", "ubaa"], "did you mean uba?"],
    ["no schedule to draw", ["schedule"], "expected one of uba"],
    ["an unknown optimizer", ["train", "--optimizer", "addam"], "did you mean adam?"],
    [
      "an unknown source of data",
      ["train", "--data", "minst"],
      `expected ${sourcesInWords}, got "minst"; did you mean mnist?`,
    ],
    [
      "a value that is not a number",
      ["train", "--budget", "many"],
      '--budget: expected a whole number from 1 to 1000000000, got "many"',
    ],
    ["a negative rate", ["train", "--max-lr", "-1"], "--max-lr: expected a finite number above 0, got -1"],
    ["a warm-up as long as the budget", ["train", "--budget", "9", "--warmup", "9"], "--warmup: expected fewer steps"],
    ["an option of another schedule", ["train", "--power", "2"], "--power: not an option of the schedule uba"],
    ["momentum without sgd", ["train", "--momentum", "0.9"], "--momentum: expected none without the optimizer sgd"],
    ["a classifier without weights", ["train", "--classifier", "skip"], "--classifier: expected only with --weights"],
    [
      "cifar10 without its files",
      ["train", "--data", "cifar10"],
      "data: expected cifar10:<path>, a folder or archive: ",
    ],
    ["classes of mnist", ["train", "--classes", "5"], "--classes: expected only with data idx:<dir>"],
    ["a context of mnist", ["train", "--context", "5"], "--context: expected only with data tokens:<dir>"],
    ["a size of mnist", ["train", "--size", "5"], "--size: expected only with data images:<dir>"],
    ["a target of mnist", ["train", "--target", "x"], "--target: expected only with data csv:<file> or parquet:<file>"],
    [
      "decimal commas of a Parquet file",
      ["train", "--data", "parquet:x.parquet", "--decimal", ","],
      "--decimal: expected only with data csv:<file>, this run has",
    ],
    [
      "a validation share of text",
      ["train", "--data", "tokens:x", "--validation", "0.1"],
      "--validation: expected none for text, whose validation split is made by stepsize tokenize",
    ],
    ["augmentation of text", ["train", "--data", "tokens:x", "--augment"], "--augment: expected only with images"],
    ["nothing to tokenize", ["tokenize", "--out", "x"], "path: expected at least one folder or text file, got none"],
    ["no folder for tokens", ["tokenize", "x"], "--out: expected the path of a folder to create, got none"],
    [
      "an unknown tokenizer",
      ["tokenize", "x", "--out", "y", "--tokenizer", "gpt"],
      '--tokenizer: expected one of bytes, gpt2, cl100k_base, o200k_base, or hf:<dir>, got "gpt"; did you mean gpt2?',
    ],
    ["an invalid share", ["tokenize", "x", "--out", "y", "--test", "1"], "--test: expected a number from 0 to below"],
    ["a negative temperature", ["generate", "--temperature", "-1"], "--temperature: expected a number of at least 0"],
    ["a top-k of 0", ["generate", "--top-k", "0"], "--top-k: expected a whole number of at least 1"],
    ["no format of an export", ["export", "--checkpoint", "run"], "--to: expected one of safetensors"],
    [
      "a precision of an ONNX file",
      ["export", "--checkpoint", "run", "--to", "onnx", "--precision", "bf16"],
      "--precision: expected none with --to onnx",
    ],
    [
      "preprocessing in a file of weights",
      ["export", "--checkpoint", "run", "--to", "safetensors", "--with-preprocessing"],
      "--with-preprocessing: expected only with --to onnx",
    ],
    ["no model to export", ["export", "--to", "safetensors"], "--checkpoint: expected"],
    ["no model to generate with", ["generate"], "--checkpoint: expected"],
    [
      "a missing run to resume",
      ["train", "--resume", "/no/such/run"],
      "--resume: expected the folder of a run, /no/such/run does not exist",
    ],
    ["a missing configuration", ["train", "--config", "/no/such.json"], "cannot be read"],
    [
      "a sweep that does not rise",
      ["find-lr", "--from", "1", "--to", "0.1"],
      "--to: expected a number above --from, which is 1, got",
    ],
    ["a sweep with a schedule", ["find-lr", "--schedule", "uba"], "unknown option '--schedule'"],
    ["no checkpoint", ["evaluate"], "--checkpoint: expected"],
    [
      "a missing checkpoint",
      ["predict", "--checkpoint", "/no/such", "a.pgm"],
      "--checkpoint: expected a file or folder, /no/such does not exist",
    ],
  ])("%s", async (_, args, message) => {
    const { code, stdout, stderr } = await run(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(message);
    expect(stderr).not.toMatch(/^\s+at /m);
  });
});

test("STEPSIZE_DEBUG=1 prints the stack trace", async () => {
  const { code, stderr } = await run(["train", "--max-lr", "-1"], { before: "export STEPSIZE_DEBUG=1" });
  expect(code).toBe(2);
  expect(stderr).toMatch(/^\s+at .*makeSchedule/m);
});

test("a command loads neither the drawing library nor an addon for its help", async () => {
  const { stderr } = await run(["train", "--help"], { unbundled: true, before: "export NODE_DEBUG=esm,module" });
  // Without this line the two below would hold however much was loaded.
  expect(stderr).toContain("commander");
  expect(stderr).not.toContain("observablehq");
  expect(stderr).not.toContain("cpu.node");
});
