// Text of a file or an argument reaches a terminal with its escape sequences written out.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { models, openDevice, writeSafetensors } from "#lib/index.js";
import type { TypedArray } from "#lib/native/index.js";
import { corpus, wordsOf } from "../data/support/corpus.js";
import { temporaryFolders } from "../support/folders.js";
import { lastLine, type Outcome, run } from "./support/cli.js";
import { classCount, side, tinyData, trainTiny } from "./support/tiny-data.js";

const folder = temporaryFolders();
const cwd = folder();
const data = tinyData(folder());

// Sets the window's title, turns text red, turns its direction, clears the screen; the last one as a single character.
const hostile = "\x1b]0;title\x07\x1b[31m\u202e\x9b2J";
const escaped = "\\u001b]0;title\\u0007\\u001b[31m\\u202e\\u009b2J";

/** Fails if there is anything on the streams that a terminal would obey. */
function expectPrintable({ stdout, stderr }: Outcome): void {
  expect(stdout + stderr).not.toMatch(/[^\P{Cc}\n]|[\u202a-\u202e\u2066-\u2069]/u);
}

/** The command's outcome, once it is checked that nothing in it acts on a terminal. */
async function outcomeOf(...args: string[]): Promise<Outcome> {
  const outcome = await run(args, { cwd });
  expectPrintable(outcome);
  return outcome;
}

/** Writes a checkpoint of an mlp with something in its card or beside its weights. */
async function writeCheckpoint(name: string, card: object, more: readonly string[] = []): Promise<void> {
  const config = { kind: "mlp", inputs: side * side, hidden: [4], classes: classCount } as const;
  const device = await openDevice("cpu");
  const model = models.create(config, { device, seed: 0 });
  const tensors = new Map<string, { dtype: "float32"; shape: readonly number[]; data: TypedArray }>();
  for (const [key, tensor] of model.stateDict())
    tensors.set(`model.${key}`, { dtype: "float32", shape: tensor.shape, data: await tensor.read() });
  for (const key of more) tensors.set(key, { dtype: "float32", shape: [1], data: new Float32Array(1) });
  await device.close();
  const info = {
    format: "stepsize-checkpoint-1",
    step: 1,
    counters: {},
    run: {},
    config,
    preprocessing: { shape: [side, side, 1], dtype: "uint8", scale: 1, mean: [0.1], std: [0.5] },
    classes: ["0", "1", "2"],
    ...card,
  };
  await writeSafetensors(join(cwd, name), tensors as never, { stepsize: JSON.stringify(info) });
}

describe("control characters in class names of a model's card are escaped", () => {
  const names = ["0", "1", "2"].map((name) => `${name}${hostile}\n`);
  const image = ["--index", "0", join(data, "t10k-images-idx3-ubyte")];

  beforeAll(() => writeCheckpoint("classes.safetensors", { classes: names }));

  test("in predict, in its table and its JSON", async () => {
    const { code, stdout, stderr } = await outcomeOf("predict", "--checkpoint", "classes.safetensors", ...image);
    expect(code, stderr).toBe(0);
    expect(stdout.split("\n")).toHaveLength(2);
    for (const name of ["0", "1", "2"]) expect(stdout).toContain(`${name}${escaped}\\n `);
    const json = await outcomeOf("predict", "--checkpoint", "classes.safetensors", "--json", ...image);
    const { predictions } = lastLine(json.stdout) as { predictions: { classes: { name: string }[] }[] };
    // A program gets the names as they are.
    expect(predictions[0]?.classes.map(({ name }) => name).sort()).toEqual(names);
  });

  test("in the table of evaluate", async () => {
    const on = ["--data", `idx:${data}`];
    const { code, stdout, stderr } = await outcomeOf("evaluate", "--checkpoint", "classes.safetensors", ...on);
    expect(code, stderr).toBe(0);
    for (const name of ["0", "1", "2"]) expect(stdout).toContain(`\n${name}${escaped}\\n `);
  });

  test("in an error", async () => {
    await writeCheckpoint("card.safetensors", { config: { kind: hostile } });
    const { code, stderr } = await outcomeOf("predict", "--checkpoint", "card.safetensors", ...image);
    expect(code).toBe(1);
    expect(stderr).toContain(escaped);
  });
});

describe("control characters in the name of a tensor are escaped", () => {
  test("if a checkpoint does not fit its model", async () => {
    await writeCheckpoint("names.safetensors", {}, [`model.${hostile}`]);
    const { code, stderr } = await outcomeOf("evaluate", "--checkpoint", "names.safetensors", "--data", `idx:${data}`);
    expect(code).toBe(1);
    expect(stderr).toContain(`error: names.safetensors: `);
    expect(stderr).toContain(escaped);
  });

  test("if initial weights do not fit", async () => {
    const tensors = new Map([[hostile, { dtype: "float32" as const, shape: [1], data: new Float32Array(1) }]]);
    await writeSafetensors(join(cwd, "weights.safetensors"), tensors, {});
    const { code, stderr } = await outcomeOf(...trainTiny(data, "--weights", "weights.safetensors", "--budget", "1"));
    expect(code).toBe(1);
    expect(stderr).toContain(`left over: ${escaped}`);
  });

  test("if a file is damaged", async () => {
    await writeCheckpoint("damaged.safetensors", {}, [`model.${hostile}`]);
    const path = join(cwd, "damaged.safetensors");
    const bytes = readFileSync(path);
    const at = bytes.length - 1;
    bytes[at] = (bytes[at] as number) ^ 1;
    writeFileSync(path, bytes);
    mkdirSync(join(cwd, "run/checkpoints"), { recursive: true });
    writeFileSync(join(cwd, "run/checkpoints/step-1.safetensors"), bytes);
    const { code, stderr } = await outcomeOf("predict", "--checkpoint", "run", "x.pgm");
    expect(code).toBe(1);
    expect(stderr).toContain(`damaged checkpoint, trying the previous one: `);
    expect(stderr).toContain(escaped);
  });
});

describe("control characters in the name of a run are escaped", () => {
  const name = `runs${hostile}`;

  test("if it is trained, evaluated and resumed", async () => {
    const made = await outcomeOf(...trainTiny(data, "--budget", "2", "--run", name));
    expect(made.code, made.stderr).toBe(0);
    expect(made.stdout).toContain(`${`runs${escaped}`}/report.html`);
    const resumed = await outcomeOf("train", "--resume", name);
    expect(resumed.code, resumed.stderr).toBe(0);
    expect(resumed.stderr).toContain(`continuing runs${escaped}/checkpoints/step-2.safetensors`);
    const evaluated = await outcomeOf("evaluate", "--checkpoint", name);
    expect(evaluated.code, evaluated.stderr).toBe(0);
    expect(evaluated.stdout).toContain(`runs${escaped}/checkpoints/step-2.safetensors (after step 2)`);
  });

  test("if the run is missing, and in an unknown option", async () => {
    const none = await outcomeOf("predict", "--checkpoint", hostile, "x.pgm");
    expect([none.code, none.stderr]).toEqual([2, expect.stringContaining(escaped)]);
    const option = await outcomeOf("train", `--${hostile}`);
    expect([option.code, option.stderr]).toEqual([2, expect.stringContaining(escaped)]);
  });
});

test("control characters in the name of a token folder are escaped", async () => {
  const texts = corpus(folder(), { "a.txt": wordsOf(1, 400), "b.txt": wordsOf(2, 400), "c.txt": wordsOf(3, 400) });
  const made = await outcomeOf("tokenize", texts, "--out", "tokens", "--validation", "0.3", "--test", "0.3");
  expect(made.code, made.stderr).toBe(0);
  const path = join(cwd, "tokens/tokens.json");
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), name: hostile }));
  const size = ["--batch", "1", "--context", "16", "--threads", "1", "--budget", "1"];
  const trained = await outcomeOf("train", "--data", "tokens:tokens", ...size, "--run", "text");
  expect(trained.code, trained.stderr).toBe(0);
  const { stdout } = await outcomeOf("evaluate", "--checkpoint", "text");
  expect(stdout).toContain(escaped);
});

test("control characters in the title and the data's name of a study are escaped", async () => {
  const study = {
    title: hostile,
    models: ["mlp"],
    data: [{ source: `idx:${data}`, name: hostile, classes: classCount }],
    steps: 4,
    batch: 16,
    budgets: [1],
    optimizers: [{ name: "sgd", peakLearningRates: [0.01], uba: { peakLearningRates: [0.01], phi: [2] } }],
    schedules: ["linear", "uba"],
    extensions: 0,
    finalSeeds: [1],
  };
  writeFileSync(join(cwd, "study.json"), JSON.stringify(study));
  const { code, stdout, stderr } = await outcomeOf("compare", "--config", "study.json", "--study", "study");
  expect(code, stderr).toBe(0);
  expect(stdout).toContain(`# ${escaped}`);
  expect(stderr).toContain(`mlp ${escaped} sgd`);
});
