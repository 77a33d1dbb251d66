// Tables on the command line: training, evaluation and predictions, from an empty folder.
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { loadModel, openDevice } from "#lib/index.js";
import { temporaryFolders } from "../support/folders.js";
import { type Outcome, run } from "./support/cli.js";

const cwd = temporaryFolders()();
const stepsize = (...args: string[]) => run([...args, ...(args[0] === "train" ? ["--threads", "1"] : [])], { cwd });
const lastJson = ({ stdout }: Outcome) => JSON.parse(stdout.trim().split("\n").at(-1)!);

// A flower's kind follows from its length, with few exceptions. Its price is 10 · length + 5 for roses, else 10 · length.
const flowers = Array.from({ length: 150 }, (_, i) => {
  const length = ((i * 37) % 100) / 10;
  const kind = length < 3 ? "daisy" : length < 7 ? "rose" : "tulip";
  return { length: i % 11 === 0 ? "" : length, kind, price: 10 * length + (kind === "rose" ? 5 : 0) };
});
const csvOf = (rows: readonly object[]) =>
  [Object.keys(rows[0]!).join(","), ...rows.map((row) => Object.values(row).join(","))].join("\n");

/** The rows of a CSV text without quoted cells. */
const rowsIn = (text: string) =>
  text
    .trim()
    .split("\n")
    .map((line) => line.split(","));

let trained: Outcome;
beforeAll(async () => {
  writeFileSync(join(cwd, "flowers.csv"), csvOf(flowers));
  trained = await stepsize("train", "--data", "csv:flowers.csv", "--target", "price", "--budget", "120", "--json");
});

describe("regression", () => {
  it("reports the data, and the error in the unit of the target", () => {
    expect(trained).toMatchObject({ code: 0 });
    expect(trained.stderr).toContain('the target "price" has numbers: regression');
    expect(trained.stderr).toContain("columns of the table: 2, which are 5 inputs of the model");
    expect(trained.stderr).toMatch(/mlp, [\d,]+ parameters, on csv:.*flowers\.csv/);
    expect(trained.stderr).toMatch(/RMSE \d/);
    const { testRmse, testR2, testAccuracy } = lastJson(trained);
    expect(testAccuracy).toBeNull();
    expect(testR2).toBeGreaterThan(0.8);
    expect(testRmse).toBeLessThan(15);
    expect(readFileSync(join(cwd, "runs/1/report.html"), "utf8")).toContain("Test RMSE");
  });

  it("is evaluated on the held-out rows as at the end of the run, and on all rows of another file", async () => {
    const held = lastJson(await stepsize("evaluate", "runs/1", "--json"));
    const { testRmse, testR2, testLoss } = lastJson(trained);
    expect(held).toMatchObject({ split: "test", items: expect.any(Number), mae: expect.any(Number) });
    expect(held.rmse / testRmse).toBeCloseTo(1, 4);
    expect(held.r2).toBeCloseTo(testR2, 4);
    expect(held.loss / testLoss).toBeCloseTo(1, 4);
    const all = lastJson(await stepsize("evaluate", "runs/1", "--data", "csv:flowers.csv", "--json"));
    expect(all).toMatchObject({ split: "all", items: 150 });
    const rest = lastJson(await stepsize("evaluate", "runs/1", "--split", "train", "--json"));
    expect(held.items + rest.items).toBe(150);
    const squares = (part: { items: number; rmse: number }) => part.items * part.rmse ** 2;
    expect((squares(held) + squares(rest)) / squares(all)).toBeCloseTo(1, 6);
  });

  it("adds its predictions to a table, with the errors that evaluate reports", async () => {
    const { stdout, code } = await stepsize("predict", "runs/1", "flowers.csv");
    expect(code).toBe(0);
    const [head, ...rows] = rowsIn(stdout);
    expect(head).toEqual(["length", "kind", "price", "prediction"]);
    expect(rows.map((row) => row.slice(0, 3).join())).toEqual(csvOf(flowers).split("\n").slice(1));
    const squares = rows.map(([, , price, prediction]) => (Number(price) - Number(prediction)) ** 2);
    const all = lastJson(await stepsize("evaluate", "runs/1", "--data", "csv:flowers.csv", "--json"));
    expect(Math.sqrt(squares.reduce((a, b) => a + b) / 150) / all.rmse).toBeCloseTo(1, 5);
  });

  it("continues after a stop with the same rows, also if the file was moved, and not with others", async () => {
    const args = [
      "train",
      "--data",
      "csv:flowers.csv",
      "--target",
      "price",
      "--budget",
      "8",
      "--checkpoint-every",
      "4",
    ];
    await stepsize(...args, "--run", "whole");
    const metrics = (folder: string) =>
      readFileSync(join(cwd, folder, "metrics.jsonl"), "utf8")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line).loss);
    const stopped = await run([...args, "--run", "stopped", "--threads", "1"], {
      cwd,
      interrupt: { file: "stopped/metrics.jsonl", lines: 4, signal: "SIGTERM" },
    });
    expect(stopped.code).toBe(130);
    renameSync(join(cwd, "flowers.csv"), join(cwd, "moved.csv"));
    const missing = await stepsize("train", "--resume", "stopped");
    expect(missing.stderr).toContain("If the data were moved, say with --data where they are");
    writeFileSync(join(cwd, "other.csv"), csvOf(flowers.slice(1)));
    const other = await stepsize("train", "--resume", "stopped", "--data", "csv:other.csv");
    expect(other.code).toBe(1);
    expect(other.stderr).toContain("the data was");
    const resumed = await stepsize("train", "--resume", "stopped", "--data", "csv:moved.csv");
    expect(resumed).toMatchObject({ code: 0 });
    expect(metrics("stopped")).toEqual(metrics("whole"));
    renameSync(join(cwd, "moved.csv"), join(cwd, "flowers.csv"));
  });
});

describe("classification", () => {
  let run2: Outcome;
  beforeAll(async () => {
    writeFileSync(join(cwd, "test.tsv"), csvOf(flowers.slice(0, 30)).replaceAll(",", "\t"));
    const args = ["--target", "kind", "--test-data", "test.tsv", "--evaluate-every", "60", "--budget", "120"];
    run2 = await stepsize(
      "train",
      "--data",
      "csv:flowers.csv",
      ...args,
      "--ignore",
      "price",
      "--run",
      "kinds",
      "--json",
    );
  });

  it("has accuracies, by class too, and rows for validation and for testing", async () => {
    expect(run2).toMatchObject({ code: 0 });
    expect(run2.stderr).toContain('the target "kind" has 3 texts: classification');
    expect(run2.stderr).toMatch(/\d+ rows to train, \d+ to validate, 30 to test/);
    expect(run2.stderr).toMatch(/after step 60: validation accuracy/);
    const { testAccuracy } = lastJson(run2);
    expect(testAccuracy).toBeGreaterThan(0.8);
    const { stdout } = await stepsize("evaluate", "kinds");
    expect(stdout).toContain(`accuracy ${(100 * testAccuracy).toFixed(2)} %`);
    expect(stdout).toMatch(/daisy +\d+ +[\d.]+ %/);
    const validation = lastJson(await stepsize("evaluate", "kinds", "--split", "validation", "--json"));
    expect(run2.stderr).toContain(`, ${validation.items} to validate`);
  });

  it("predicts classes with probabilities, into a file and as JSON, also for rows without the target", async () => {
    writeFileSync(join(cwd, "new.csv"), 'note;length;prediction\n"a;b";1;x\n;5,5;y\n"say ""hi""";;z\n');
    const refused = await stepsize("predict", "kinds", "new.csv");
    expect(refused).toMatchObject({ code: 1 });
    expect(refused.stderr).toContain('new.csv: line 3, column "length": expected a number, found "5,5".');
    writeFileSync(join(cwd, "new.csv"), 'note;length;prediction\n"a;b";1;x\n;5.5;y\n"say ""hi""";;z\n');
    const { stdout, stderr } = await stepsize("predict", "kinds", "new.csv", "--output", "out.csv", "--json");
    expect(stderr).toContain("out.csv: 3 rows");
    const { predictions, output } = JSON.parse(stdout);
    expect(output).toBe("out.csv");
    expect(predictions).toEqual([
      { line: 2, prediction: "daisy", probability: expect.any(Number) },
      { line: 3, prediction: "rose", probability: expect.any(Number) },
      { line: 4, prediction: expect.any(String), probability: expect.any(Number) },
    ]);
    const [first, second, third] = predictions.map((one: { probability: number }) => one.probability);
    expect(readFileSync(join(cwd, "out.csv"), "utf8")).toBe(
      `note;length;prediction;prediction 2;probability\n"a;b";1;x;daisy;${first}\n;5.5;y;rose;${second}\n` +
        `"say ""hi""";;z;${predictions[2].prediction};${third}\n`,
    );
    for (const probability of [first, second]) expect(probability).toBeGreaterThan(0.5);
  });

  it("exports the model with its encoding, and other commands say what it is", async () => {
    const exported = await stepsize("export", "--checkpoint", "kinds", "--to", "onnx", "--out", "kinds.onnx");
    expect(exported).toMatchObject({ code: 0 });
    expect(existsSync(join(cwd, "kinds.onnx"))).toBe(true);
    const generated = await stepsize("generate", "kinds");
    expect(generated.stderr).toContain("expected a text model, got a model of a table; use stepsize predict");
    const device = await openDevice("cpu", { threads: 1 });
    const { card } = await loadModel(join(cwd, "kinds/checkpoints/step-120.safetensors"), { device });
    expect(card.table).toMatchObject({ target: { name: "kind", classes: ["daisy", "rose", "tulip"] } });
    await device.close();
  });
});

describe("wrong use", () => {
  const train = ["train", "--data", "csv:flowers.csv"];
  it.each<{ args: string[]; code: number; words: string }>([
    {
      args: train,
      code: 2,
      words: 'target: expected the name of the column to predict ("length", "kind", "price"), got',
    },
    { args: [...train, "--target", "prise"], code: 2, words: "(did you mean price?)" },
    { args: [...train, "--target", "price", "--model", "resnet8"], code: 2, words: "model: expected mlp for a table" },
    { args: [...train, "--target", "price", "--batch", "1000"], code: 2, words: "--batch: expected at most" },
    { args: ["train", "--data", "csv:none.csv", "--target", "x"], code: 1, words: "none.csv" },
    {
      args: ["evaluate", "runs/1", "--data", "mnist"],
      code: 2,
      words: "--data: expected csv:<file> or parquet:<file>",
    },
    { args: ["evaluate", "runs/1", "--split", "validation"], code: 2, words: "which the run does not have" },
    { args: ["predict", "runs/1", "--top", "2", "flowers.csv"], code: 2, words: "--top: expected only with images" },
    { args: ["predict", "runs/1", "flowers.csv", "flowers.csv"], code: 2, words: "file: expected one table" },
    { args: ["predict", "runs/1", "wrong.csv"], code: 1, words: 'expected the column "kind", which the model needs' },
  ])("$words", async ({ args, code, words }) => {
    writeFileSync(join(cwd, "wrong.csv"), "length,king\n1,rose\n");
    const outcome = await stepsize(...args);
    expect(outcome.stderr).toContain(words);
    expect(outcome.code).toBe(code);
  });
});
