// Wrong usages of every command: each message names the flag or the argument, what was expected and what came. The
// commands run in this process, which is much cheaper than a process for each. None of them gets to do any work.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Command, CommanderError } from "commander";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { UsageError } from "#lib/cli/failure.js";
import { createProgram, namedByFlag } from "#lib/cli/program.js";
import { temporaryFolders } from "../support/folders.js";

const folder = temporaryFolders();
const before = process.cwd();

beforeAll(() => {
  const cwd = folder();
  for (const name of ["empty", "pictures/one", "texts", "no-run"]) mkdirSync(join(cwd, name), { recursive: true });
  writeFileSync(join(cwd, "notes.txt"), "hello");
  writeFileSync(join(cwd, "texts/a.txt"), "some text");
  writeFileSync(join(cwd, "list.json"), "[1]");
  writeFileSync(join(cwd, "typo.json"), '{"budgett": 3}');
  process.chdir(cwd);
});
afterAll(() => process.chdir(before));

/** Runs a command line and returns its error message. */
async function errorOf(argv: readonly string[]): Promise<string> {
  let written = "";
  const program = await createProgram(argv);
  const silence = (command: Command) =>
    command.configureOutput({ writeErr: (text) => (written += text), writeOut: (text) => (written += text) });
  for (const command of [program, ...program.commands]) silence(command);
  try {
    await program.parseAsync(argv, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) {
      expect(error.exitCode).toBe(1);
      return written;
    }
    const named = namedByFlag(error, program, argv);
    const wrongUse = named instanceof UsageError || (named as { code?: string }).code === "invalid-argument";
    expect(wrongUse, `not a wrong use: ${String(error)}`).toBe(true);
    return (named as Error).message;
  }
  throw new Error("there was no error");
}

/** Command lines, in words without spaces, with their messages. */
const cases: Readonly<Record<string, readonly (readonly [line: string, message: string])[]>> = {
  "of several commands": [
    ["train --dataset mnist", "Did you mean --data?"],
    ["train --lr 1 --max-lr 1", "--lr: expected either this flag or --max-lr"],
    ["train --epochs 1 --steps 5", "--epochs: expected either epochs or a budget"],
    ["train --resume runs/1 --epochs 1", "--epochs: a resumed run has a budget"],
    ["evaluate runs/1 --checkpoint runs/1", "run: expected either the path of a run or"],
    ["generate runs/none", "--checkpoint: expected a file or folder, runs/none"],
    ["train --schedule cosin", "did you mean cosine?"],
    ["schedule ubaa", "did you mean uba?"],
    ["schedule", "expected one of uba"],
    ["train --optimizer addam", "did you mean adam?"],
    ["train --data minst", 'got "minst"; did you mean mnist?'],
    ["train --budget 9 --warmup 9", "--warmup: expected fewer steps"],
    ["train --power 2", "--power: not an option of the schedule uba"],
    ["train --momentum 0.9", "--momentum: expected none without the optimizer sgd"],
    ["train --classifier skip", "--classifier: expected only with --weights"],
    ["train --data cifar10", "data: expected cifar10:<path>, a folder or archive: "],
    ["train --classes 5", "--classes: expected only with data idx:<dir>"],
    ["train --context 5", "--context: expected only with data tokens:<dir>"],
    ["train --size 5", "--size: expected only with data images:<dir>"],
    ["train --data csv:a.csv --label y", "Did you mean --target?"],
    ["train --data a.csv", "; for a table: csv:a.csv"],
    ["train --data a.parquet", "; for a table: parquet:a.parquet"],
    ["train --data a.txt", "; for a text: stepsize tokenize a.txt, then tokens:<dir>"],
    ["train --target x", "--target: expected only with data csv:<file> or parquet:<file>"],
    ["train --data parquet:x.parquet --decimal ,", "--decimal: expected only with data csv:<file>, this run has"],
    [
      "train --data tokens:x --validation 0.1",
      "--validation: expected none for text, whose validation split is made by stepsize tokenize",
    ],
    ["train --data tokens:x --augment", "--augment: expected only with images"],
    [
      "train --precision tf32 --device cpu",
      "--precision: expected float32 or bf16 on a CPU, got tf32, which only GPUs have",
    ],
    ["train --precision tf32 --threads 1", "--precision: expected float32 or bf16 on a CPU, got tf32"],
    ["tokenize --out x", "path: expected at least one folder or text file, got none"],
    ["tokenize x", "--out: expected the path of a folder to create, got none"],
    [
      "tokenize x --out y --tokenizer gpt",
      '--tokenizer: expected one of bytes, gpt2, cl100k_base, o200k_base, or hf:<dir>, got "gpt"; did you mean gpt2?',
    ],
    ["tokenize x --out y --test 1", "--test: expected a number from 0 to below"],
    ["generate --temperature -1", "--temperature: expected a number of at least 0"],
    ["generate --top-k 0", "--top-k: expected a whole number of at least 1"],
    ["export --checkpoint run", "--to: expected one of safetensors"],
    ["export --checkpoint run --to onnx --precision bf16", "--precision: expected none with --to onnx"],
    [
      "export --checkpoint run --to safetensors --with-preprocessing",
      "--with-preprocessing: expected only with --to onnx",
    ],
    ["export --to safetensors", "--checkpoint: expected"],
    ["generate", "--checkpoint: expected"],
    ["train --config /no/such.json", "cannot be read"],
    ["find-lr --from 1 --to 0.1", "--to: expected a number above --from, which is 1, got"],
    ["find-lr --schedule uba", "unknown option '--schedule'"],
    ["find-lr --tensorboard", "unknown option '--tensorboard'"],
    ["evaluate", "--checkpoint: expected"],
  ],
  "of the program": [
    ["trian", "unknown command 'trian'\nDid you mean train?"],
    ["--hlep", "unknown option '--hlep'\nDid you mean --help?"],
    ["--versionn", "unknown option '--versionn'\nDid you mean --version?"],
  ],
  train: [
    ["train --budget", "error: --budget: expected a value after it, <n>, got none"],
    ["train --keep", "error: --keep: expected a value after it, <best:n>, got none"],
    ["train extra", 'error: argument: expected none beside flags, got "extra"; stepsize train --help lists the flags'],
    ["train --capture yes", 'error: argument: expected none beside flags, got "yes"'],
    ["train --json=file", "unknown option '--json=file'"],
    ["train --patiense 3", "unknown option '--patiense'\nDid you mean --patience?"],
    ["train --early_stopping 3", "unknown option '--early_stopping'"],
    ["train --stop-early 0 --evaluate-every 5", "--patience: expected a whole number of at least 1, got 0"],
    ["train --patience 2", "--patience: expected only with --evaluate-every, which is missing"],
    ["train --keep best:3", "--keep: expected only with --evaluate-every, which is missing"],
    ["train --evaluation-items 3", "--evaluation-items: expected only with --evaluate-every, which is missing"],
    ["train --classifier skip", "--classifier: expected only with --weights, which is missing"],
    ["train --steps 5 --budget 6", "--steps: expected either this flag or --budget, got both"],
    ["train --data images", "--data: expected mnist[:<dir>], fashion-mnist[:<dir>], idx:<dir>"],
    ["train --data cifar10", "--data: expected cifar10:<path>"],
    ["train --run notes.txt", "--run: expected a folder, notes.txt is a file"],
    ["train --run texts", "--run: expected an empty or new folder, got texts; continue its run with --resume texts"],
    ["train --resume notes.txt", "--resume: expected a folder, notes.txt is a file"],
    ["train --resume no-run", "--resume: expected the folder of a run, no-run has no config.json"],
    ["train --resume no-run --epochs 2", "--epochs: a resumed run has a budget of steps; change it with"],
    ["train --resume no-run --config list.json", "--config: a resumed run has the settings it was started with"],
    ["train --resume no-run --run other", "--run: a resumed run stays in its folder no-run; leave it out"],
    ["train --allow schedule", "--allow: expected a run to go on with, named by --resume, got none"],
    ["train --config none.json", "none.json: the configuration cannot be read (there is no such file)"],
    ["train --config texts", "texts: is a folder; expected a file"],
    ["train --config list.json", "list.json: expected an object of settings, found [1]"],
    ["train --config typo.json", "typo.json: budgett: unknown field; did you mean budget?"],
    ["train --phases [1,2", "--phases: expected a list (as a flag: JSON) of phases such as"],
    ["train --schedule step --milestones 0.9,0.1", "--milestones: expected an array of numbers above 0 and below 1"],
    ["train --schedule joined --parts []", "--parts: expected an array of at least one schedule, got []"],
  ],
  "find-lr": [
    ["find-lr --to 1e-9", "--to: expected a number above --from, which is 0.000001, got 1e-9"],
    ["find-lr --steps 5", "--steps: expected a whole number from 20 to 1000000, got 5"],
    ["find-lr --from 0", "--from: expected a number above 0, got 0"],
    ["find-lr --max-lr 0.1", "unknown option '--max-lr'"],
    ["find-lr --config none.json", "none.json: the configuration cannot be read"],
  ],
  evaluate: [
    ["evaluate", "--checkpoint: expected the path of a checkpoint or of a run's folder, got none"],
    ["evaluate a b", 'error: argument: expected at most 1 argument beside flags, got "a" and "b"'],
    ["evaluate none", "--checkpoint: expected a file or folder, none does not exist"],
    ["evaluate no-run", "--checkpoint: expected the folder of a run with a checkpoint, no-run has none"],
    [
      "evaluate no-run --split tst",
      '--split: expected one of train, validation, test, all, got "tst"; did you mean test?',
    ],
    ["evaluate no-run --batch 0", "--batch: expected a whole number of at least 1, got 0"],
  ],
  predict: [
    ["predict", "--checkpoint: expected the path of a checkpoint or of a run's folder, got none"],
    ["predict --checkpoint none a.png", "--checkpoint: expected a file or folder, none does not exist"],
    ["predict --checkpoint no-run", "file: expected at least one file or folder, got none"],
    ["predict --checkpoint no-run --index x a", "--index: expected numbers from 0, such as 3, 0-9 or 0,2,7-9"],
    ["predict --checkpoint no-run --top 0 a", "--top: expected a whole number of at least 1, got 0"],
  ],
  export: [
    ["export run", "--to: expected one of safetensors, onnx, got none"],
    ["export --to onnx", "--checkpoint: expected the path of a checkpoint or of a run's folder"],
    ["export a --checkpoint b --to onnx", "run: expected either the path of a run or --checkpoint, got both"],
    ["export run --to tflite", '--to: expected one of safetensors, onnx, got "tflite"'],
    ["export run --to onnx --precision bf16", "--precision: expected none with --to onnx"],
  ],
  tokenize: [
    ["tokenize", "path: expected at least one folder or text file, got none"],
    ["tokenize texts", "--out: expected the path of a folder to create, got none"],
    ["tokenize texts --out texts", '--out: expected a folder that does not exist or is empty, got "texts"'],
    ["tokenize texts --out a --tokenizer bpe", "--tokenizer: expected one of bytes, gpt2, cl100k_base, o200k_base"],
    ["tokenize texts --out a --validation 0.6 --test 0.6", "--validation and --test: expected shares that together"],
  ],
  generate: [
    ["generate", "--checkpoint: expected"],
    ["generate no-run --prompt", "error: --prompt: expected a value after it, <text>, got none"],
    ["generate no-run --tokens 0", "--tokens: expected a whole number of at least 1, got 0"],
    ["generate no-run --top-k x", '--top-k: expected a whole number of at least 1, got "x"'],
  ],
  schedule: [
    ["schedule", "name: expected one of uba, constant"],
    ["schedule uba cosine", 'error: argument: expected at most 1 argument beside flags, got "uba" and "cosine"'],
    ["schedule uba --gamma 2", "--gamma: not an option of the schedule uba; its options are budget, maxLr"],
    ["schedule uba --csv --json", "--csv: expected either this flag or --json, got both"],
  ],
  curvature: [
    ["curvature", "--checkpoint: expected a checkpoint or a run's folder, or --model for fresh weights; got none"],
    ["curvature no-run --model mlp", "--model: expected none with --checkpoint, which has its own model"],
    ["curvature --model mlp --adam", "--adam: expected a --checkpoint of a run with adam or adamw, got fresh weights"],
    ["curvature no-run --share 2", "--share: expected a number above 0 and below 1, got 2"],
  ],
  compare: [
    ["compare --study s --steps 0", "--steps: expected a whole number from 1 to 1000000000, got 0"],
    ["compare --study s --schedules ubaa,linear", "--schedules[0]: expected one of uba"],
    ["compare --study s --uba {}", "--uba.peakLearningRates: expected a list of learning rates above 0"],
    [
      "compare --study s --budgets 0.5,2",
      "--budgets[1]: expected a fraction of the full run, above 0 and at most 1, got 2",
    ],
    ["compare --study s --kind other", '--kind: expected "training" or "quadratics", got "other"'],
    ["compare --config typo.json", "typo.json: budgett: unknown field; did you mean budgets?"],
  ],
  bench: [
    ["bench", "what: expected optimizer, got none"],
    ["bench optimizer --json x.json", 'error: argument: expected at most 1 argument beside flags, got "optimizer" and'],
    ["bench optimizer --sizes x", "--sizes: expected elements such as 1e6, or tensors x elements such as 1000x1e4"],
    ["bench optimizer --baseline nope", '--baseline: expected one of loop, copy, per-tensor, torch, got "nope"'],
  ],
  check: [
    ["check --stage nope", "--stage: expected names among device, operations"],
    ["check --seconds 0", "--seconds: expected a number of seconds above 0, got 0"],
    ["check --bundle x.tar.xz --bench", "--bundle: expected no other option, got --bench"],
  ],
  info: [
    ["info extra", 'error: argument: expected none beside flags, got "extra"; stepsize info --help lists the flags'],
    ["info --jsn", "unknown option '--jsn'\nDid you mean --json?"],
  ],
  watch: [
    ["watch none", "folder: expected a folder of runs, none does not exist"],
    ["watch notes.txt", "folder: expected a folder of runs, notes.txt is a file"],
    ["watch --port 99999", "--port: expected a whole number from 0 to 65535, got 99999"],
  ],
};

describe.each(Object.entries(cases))("wrong usage %s", (_, lines) => {
  test.each(lines)("stepsize %s", async (line, message) => {
    expect(await errorOf(line.split(" "))).toContain(message);
  });
});
