import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { temporaryFolders } from "../support/folders.js";
import { lastLine, lossesOf, metricsOf, type Outcome, run } from "./support/cli.js";
import { testItems, tinyData, trainTiny } from "./support/tiny-data.js";

const folder = temporaryFolders();
const runsPage = readFileSync(new URL("../../docs/runs.md", import.meta.url), "utf8");
const fieldsTable = runsPage.split("has these fields:")[1]?.split("\n\n")[1] ?? "";

/** Number of parameters of `mlp` on images of 8 × 8 pixels: layers of 512, 512 and 3. */
const mlpParameters = 64 * 512 + 512 + 512 * 512 + 512 + 512 * 3 + 3;

describe("a run", () => {
  let cwd: string;
  let data: string;
  let outcome: Outcome;

  beforeAll(async () => {
    [cwd, data] = [folder(), tinyData(folder())];
    const more = [
      "--budget",
      "40",
      "--validation",
      "0.25",
      "--evaluate-every",
      "15",
      "--checkpoint-every",
      "7",
      "--json",
    ];
    outcome = await run(trainTiny(data, ...more), { cwd });
  });

  test("prints one JSON object on the last line of standard output", () => {
    expect(outcome.code).toBe(0);
    const result = lastLine(outcome.stdout);
    expect(Object.keys(result)).toEqual([
      "steps",
      "budget",
      "finalLoss",
      "testAccuracy",
      "seconds",
      "itemsPerSecond",
      "device",
      "run",
    ]);
    expect(result).toMatchObject({ steps: 40, budget: 40, device: "cpu", run: "runs/1" });
    expect(result.finalLoss).toBe(metricsOf(join(cwd, "runs/1")).at(-1)?.loss);
    // Three classes: chance is a third.
    expect(result.testAccuracy).toBeGreaterThan(0.6);
    expect(result.itemsPerSecond).toBeCloseTo((40 * 16) / result.seconds, 6);
    expect(outcome.stdout.split("\n")).toHaveLength(2);
  });

  test("prints plain lines of progress if standard error is not a terminal", () => {
    expect(outcome.stderr).toMatch(/^step 40\/40 {2}loss \d\.\d+ {2}lr \S+ {2}[\d,]+ images\/s {2}\S+ s left$/m);
    expect(outcome.stderr).toMatch(/after step 15: validation accuracy/);
    expect(outcome.stderr).not.toContain("\x1b");
  });

  test("writes one record per step", () => {
    const metrics = metricsOf(join(cwd, "runs/1"));
    expect(metrics.map(({ step }) => step)).toEqual(Array.from({ length: 40 }, (_, i) => i));
    const documented = [...fieldsTable.matchAll(/^\| `(\w+)` \| /gm)].flatMap(([, field]) => field ?? []);
    expect(documented).toContain("gradientNorm");
    expect(Object.keys(metrics[0] ?? {})).toEqual(documented.filter((field) => field !== "skipped"));
    // An Adam step of this mlp needs its weights, their gradients and two moments at least.
    for (const { seconds, dataWait, memory } of metrics) {
      expect(dataWait).toBeGreaterThanOrEqual(0);
      expect(dataWait).toBeLessThanOrEqual(Number(seconds));
      expect(memory).toBeGreaterThan(4 * 4 * mlpParameters);
    }
    // Two of forty steps are warm-up.
    expect(metrics.slice(0, 3).map(({ learningRate }) => learningRate)).toEqual([
      0.0005,
      0.001,
      expect.closeTo(0.001, 5),
    ]);
  });

  test("keeps the newest three checkpoints, including the final one", () => {
    const names = readdirSync(join(cwd, "runs/1/checkpoints")).sort();
    expect(names).toEqual(["step-28.safetensors", "step-35.safetensors", "step-40.safetensors"]);
  });

  test("records evaluations during the run", () => {
    const lines = readFileSync(join(cwd, "runs/1/evaluations.jsonl"), "utf8").trimEnd().split("\n");
    const records = lines.map((line) => JSON.parse(line));
    expect(records).toMatchObject([
      { step: 15, split: "validation" },
      { step: 30, split: "validation" },
    ]);
  });

  test("writes a confusion matrix and the worst predictions of the newest evaluation of each split", () => {
    const result = JSON.parse(readFileSync(join(cwd, "runs/1/result.json"), "utf8"));
    for (const [split, items, accuracy] of [
      ["validation", 24, result.validationAccuracy],
      ["test", testItems, result.testAccuracy],
    ] as const) {
      const found = JSON.parse(readFileSync(join(cwd, `runs/1/predictions-${split}.json`), "utf8"));
      expect(found).toMatchObject({ step: 40, split, items, classes: ["0", "1", "2"] });
      const confusion: number[][] = found.confusion;
      expect(confusion.flat().reduce((sum, times) => sum + times)).toBe(items);
      const correct = confusion.reduce((sum, row, i) => sum + (row[i] ?? 0), 0);
      expect(correct / items).toBeCloseTo(accuracy, 12);
      const worst: { label: number; predicted: number; probability: number; image: string }[] = found.worst;
      expect(worst).toHaveLength(Math.min(16, items - correct));
      for (const [i, { label, predicted, probability, image }] of worst.entries()) {
        expect(label).not.toBe(predicted);
        // The predicted class has at least this probability, and both together at most 1.
        expect(probability).toBeLessThanOrEqual(0.5);
        expect(probability).toBeGreaterThanOrEqual(worst[i - 1]?.probability ?? 0);
        expect(image).toMatch(/^data:image\/png;base64,iVBOR/);
      }
    }
  });

  test("writes its result, and a page without external references", () => {
    const result = JSON.parse(readFileSync(join(cwd, "runs/1/result.json"), "utf8"));
    expect(result).toMatchObject({ status: "completed", checkpoint: "runs/1/checkpoints/step-40.safetensors" });
    expect(result.validationAccuracy).toBeGreaterThan(0.5);
    const page = readFileSync(join(cwd, "runs/1/report.html"), "utf8");
    expect(page.match(/<svg/g)).toHaveLength(3);
    expect(page).toContain('<span class="badge">finished</span>');
    for (const words of ["Gradient norm", "Highest learning rate", "Command line", "Highest memory of the device"])
      expect(page).toContain(words);
    expect(page).toContain(`--batch 16 --threads 1 --max-lr 0.001 --budget 40`);
    expect(page).not.toMatch(/maxLr|evaluateEvery|peakMemory|finalLoss/);
    expect(page).not.toMatch(/<script|<link|src=|href=|url\(|@import/);
    expect(page).toContain("prefers-color-scheme:dark");
  });

  test("is repeated in the next folder by its config.json, which a flag overrides", async () => {
    const config = ["train", "--config", "runs/1/config.json"];
    const again = await run(config, { cwd });
    const other = await run([...config, "--seed", "1"], { cwd });
    expect([again.code, other.code]).toEqual([0, 0]);
    expect(again.stdout).toContain("test accuracy");
    expect(lossesOf(join(cwd, "runs/2"))).toEqual(lossesOf(join(cwd, "runs/1")));
    expect(lossesOf(join(cwd, "runs/3"))).not.toEqual(lossesOf(join(cwd, "runs/1")));
    expect(readFileSync(join(cwd, "runs/2/config.json"))).toEqual(readFileSync(join(cwd, "runs/1/config.json")));
  });
});

test("the report is there from the first evaluation on, and says how the run stands", async () => {
  const [cwd, data] = [folder(), tinyData(folder())];
  const more = ["--budget", "2000", "--evaluate-every", "20", "--run", "a"];
  const interrupt = { signal: "SIGKILL", file: join(cwd, "a/evaluations.jsonl"), lines: 2 } as const;
  expect((await run(trainTiny(data, ...more), { cwd, interrupt })).signal).toBe("SIGKILL");
  const page = readFileSync(join(cwd, "a/report.html"), "utf8");
  expect(page).toContain('<span class="badge">running</span>');
  expect(page).not.toMatch(/stopped ?early/i);
  expect(page).toMatch(/Running: \d+ steps made\./);
  const diverging = trainTiny(data, "--budget", "50", "--optimizer", "sgd", "--run", "b");
  const diverged = await run([...diverging, "--max-lr", "1e20"], { cwd });
  expect(diverged.code).toBe(1);
  expect(JSON.parse(readFileSync(join(cwd, "b/result.json"), "utf8"))).toMatchObject({
    status: "failed",
    code: "non-finite",
  });
  expect(readFileSync(join(cwd, "b/report.html"), "utf8")).toContain('<span class="badge bad">diverged</span>');
});

describe("the run's folder", () => {
  test("has the next free number, also if two runs start at once", async () => {
    const [cwd, data] = [folder(), tinyData(folder())];
    mkdirSync(join(cwd, "runs/7"), { recursive: true });
    mkdirSync(join(cwd, "runs/other"));
    const args = trainTiny(data, "--budget", "3", "--json");
    const outcomes = await Promise.all([run(args, { cwd }), run(args, { cwd }), run(args, { cwd })]);
    expect(outcomes.map(({ stdout }) => lastLine(stdout).run).sort()).toEqual(["runs/10", "runs/8", "runs/9"]);
    for (const name of ["8", "9", "10"]) expect(metricsOf(join(cwd, "runs", name))).toHaveLength(3);
  });

  test("must be new or empty if it is given with --run", async () => {
    const [cwd, data] = [folder(), tinyData(folder())];
    const args = trainTiny(data, "--budget", "2");
    expect((await run([...args, "--run", "a/b"], { cwd })).code).toBe(0);
    mkdirSync(join(cwd, "empty"));
    expect((await run([...args, "--run", "empty"], { cwd })).code).toBe(0);
    mkdirSync(join(cwd, "full"));
    writeFileSync(join(cwd, "full/notes.txt"), "mine");
    const refused = await run([...args, "--run", "full"], { cwd });
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain("--run: expected an empty or new folder, got full");
    expect(readdirSync(join(cwd, "full"))).toEqual(["notes.txt"]);
  });

  test("is not created if the data cannot be read or do not fit", async () => {
    const [cwd, data] = [folder(), tinyData(folder())];
    const missing = await run(["train", "--data", "idx:nowhere"], { cwd });
    expect(missing.code).toBe(1);
    expect(missing.stderr).toContain("train-images-idx3-ubyte");
    const large = await run(trainTiny(data, "--batch", "97"), { cwd });
    expect(large.code).toBe(2);
    expect(large.stderr).toContain("--batch: expected at most 96, the number of training items, got 97");
    expect(existsSync(join(cwd, "runs"))).toBe(false);
  });
});

test("several accumulated batches equal one large batch", async () => {
  const [cwd, data] = [folder(), tinyData(folder())];
  const steps = async (name: string, batch: string, accumulate: string) => {
    const more = ["--budget", "3", "--run", name, "--batch", batch, "--accumulate", accumulate];
    expect((await run(trainTiny(data, ...more), { cwd })).code).toBe(0);
    return metricsOf(join(cwd, name)).map(({ loss }) => loss);
  };
  const large = await steps("large", "96", "1");
  // More of them than are held in memory at once.
  for (const [i, loss] of (await steps("small", "4", "24")).entries()) expect(loss).toBeCloseTo(large[i] ?? 0, 4);
});

test.each([
  ["sgd", "one-cycle", ["--cycle-momentum", "--clip-norm", "1"]],
  ["adam", "wsd", ["--rise-steps", "2", "--cooldown", "exponential", "--accumulate", "2"]],
  ["adamw", "step", ["--milestones", "0.3,0.6", "--gamma", "0.5", "--augment"]],
  ["sgd", "uba", ["--phases", '[{"iterations":4},{"iterations":5,"phi":5}]', "--warmup", "1", "--non-finite", "skip"]],
])("%s with %s and %s", async (optimizer, schedule, more) => {
  const cwd = folder();
  const args = trainTiny(
    tinyData(folder()),
    "--optimizer",
    optimizer,
    "--schedule",
    schedule,
    "--budget",
    "10",
    ...more,
  );
  const { code, stderr } = await run(args, { cwd });
  expect(code, stderr).toBe(0);
  expect(metricsOf(join(cwd, "runs/1"))).toHaveLength(10);
});

test("--keep keeps the checkpoints of the best evaluations, also of a run that is interrupted and resumed", async () => {
  const cwd = folder();
  // A high constant rate: the best evaluations are not the last ones.
  const rates = ["--optimizer", "sgd", "--schedule", "constant", "--warmup", "0", "--max-lr", "0.1"];
  const kept = ["--validation", "0.25", "--evaluate-every", "5", "--keep", "best:2", "--checkpoint-every", "7"];
  const args = [...trainTiny(tinyData(folder()), "--budget", "120", ...kept), ...rates];
  const interrupt = { signal: "SIGINT", file: join(cwd, "a/metrics.jsonl"), lines: 40 } as const;
  expect((await run([...args, "--run", "a"], { cwd, interrupt })).code).toBe(130);
  const { code, stdout } = await run(["train", "--resume", "a"], { cwd });
  expect(code).toBe(0);
  const lines = readFileSync(join(cwd, "a/evaluations.jsonl"), "utf8").trim().split("\n");
  const evaluations = lines.map((line) => JSON.parse(line) as { step: number; loss: number });
  const best = evaluations.sort((a, b) => a.loss - b.loss).slice(0, 2);
  const name = (step: number) => `step-${step}.safetensors`;
  const files = readdirSync(join(cwd, "a/checkpoints"));
  // Without the flag there would be three checkpoints, and none of a step that is no multiple of seven.
  expect(files.sort()).toEqual([...new Set([...best.map(({ step }) => step), 112, 119, 120].map(name))].sort());
  expect(best.some(({ step }) => step < 112)).toBe(true);
  const result = JSON.parse(readFileSync(join(cwd, "a/result.json"), "utf8"));
  expect(result.best).toEqual(
    best.map(({ step, loss }) => ({ step, loss, checkpoint: `a/checkpoints/${name(step)}` })),
  );
  expect(stdout).toMatch(new RegExp(`^best +a/checkpoints/${name(best[0]!.step)} \\(loss .* in validation\\)$`, "m"));
});

test("--patience ends a run early, keeps its best checkpoint, and counts across a resume", async () => {
  const [cwd, data] = [folder(), tinyData(folder())];
  // Steps of this rate do not change the weights, so no evaluation is better than the first.
  const frozen = ["--max-lr", "1e-30", "--evaluate-every", "5", "--checkpoint-every", "50"];
  const args = trainTiny(data, ...frozen, "--budget", "60", "--patience", "2", "--json");
  const first = await run(args, { cwd });
  expect(first.code, first.stderr).toBe(0);
  expect(first.stderr).toMatch(/^stopping early: 2 evaluations without a lower loss than \d\.\d+ after step 5$/m);
  expect(lastLine(first.stdout)).toMatchObject({ steps: 15, budget: 60, stoppedEarly: true });
  const result = () => JSON.parse(readFileSync(join(cwd, "runs/1/result.json"), "utf8"));
  const best = { step: 5, checkpoint: "runs/1/checkpoints/step-5.safetensors" };
  expect(result()).toMatchObject({ status: "completed", stoppedEarly: true, best: [best] });
  expect(existsSync(join(cwd, best.checkpoint))).toBe(true);
  expect(readFileSync(join(cwd, "runs/1/report.html"), "utf8")).toContain("Stopped early after 15 steps.");

  const again = await run(["train", "--resume", "runs/1"], { cwd });
  expect(again.stderr).toContain(
    "the run has stopped early after 15 steps; it is evaluated again. To go on: --patience",
  );
  expect(again.stdout).toContain("15 steps in");
  const longer = await run(["train", "--resume", "runs/1", "--patience", "3", "--json"], { cwd });
  expect(lastLine(longer.stdout)).toMatchObject({ steps: 20, stoppedEarly: true });
  expect(result().best).toMatchObject([best]);
});
