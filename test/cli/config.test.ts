import { describe, expect, test } from "vitest";
import { fromFlags, helpOf } from "#lib/cli/config/fields.js";
import { checkFlags, completeConfig, readConfig, resumedConfig, trainFields } from "#lib/cli/config/train-config.js";
import { flagOf } from "#lib/cli/output/text.js";
import { defaultOptimizer, optimizerNames, optimizersByName } from "#lib/optim/by-name.js";
import { filled, temporaryFolders } from "../support/folders.js";

const folder = temporaryFolders();
const none = { values: {}, label: flagOf };

/** A value that each field must refuse. A field that is missing here fails the test below. */
const wrong: Record<string, unknown> = {
  model: "resnet9",
  weights: "",
  classifier: "drop",
  data: "mnist:",
  classes: 0,
  context: 0,
  size: "64x",
  fit: "stretch",
  channels: 4,
  onError: "ignore",
  target: "",
  task: "ranking",
  categories: "zip",
  ignore: [],
  missing: [1],
  test: 1,
  testData: "",
  separator: '"',
  decimal: "'",
  thousands: "0",
  validation: 1,
  augment: "yes",
  budget: 0,
  batch: 1.5,
  accumulate: -1,
  precision: "bf8",
  optimizer: "lamb",
  schedule: 5,
  maxLr: "fast",
  minLr: null,
  warmup: 0.5,
  phi: "2",
  phases: {},
  milestones: [0.5, "x"],
  gamma: [],
  endLr: "x",
  power: true,
  periodFactor: 1.5,
  firstPeriod: "x",
  period: 2.5,
  riseFraction: "x",
  initialDivisor: "x",
  finalDivisor: "x",
  arms: "round",
  cycleMomentum: 1,
  minMomentum: "x",
  maxMomentum: "x",
  riseSteps: 0.1,
  cooldownSteps: 1.5,
  cooldown: "none",
  cooldownFactor: "x",
  convention: "torch",
  hold: 0.5,
  threePhase: "yes",
  parts: {},
  boundaries: "x",
  weightDecay: -0.1,
  momentum: 1,
  clipNorm: 0,
  nonFinite: "ignore",
  seed: -1,
  device: "gpu",
  capture: "on",
  tensorboard: "on",
  threads: 0,
  checkpointEvery: 0,
  evaluateEvery: 0,
  evaluationItems: 0,
  keep: "best",
  patience: 0,
  epochs: 0,
};

describe("each field is checked", () => {
  test("the list of wrong values is complete", () => {
    expect(Object.keys(wrong).sort()).toEqual(Object.keys(trainFields).sort());
  });

  test.each(Object.entries(wrong))("%s", async (field, value) => {
    expect(() => checkFlags({ [field]: value })).toThrow(new RegExp(`^${flagOf(field)}: expected .*, got `));
    const path = `${filled(folder(), { "c.json": JSON.stringify({ [field]: value }) })}/c.json`;
    await expect(readConfig(path)).rejects.toThrow(`${path}: ${field}: expected `);
  });
});

describe("a configuration file", () => {
  test.each([
    ["an unknown field", '{"bugdet": 5}', "bugdet: unknown field; did you mean budget?"],
    ["text that is not JSON", "{budget: 5}", "expected JSON"],
    ["a list", "[]", "expected an object of settings, found []"],
  ])("%s is refused", async (_, text, message) => {
    const path = `${filled(folder(), { "c.json": text })}/c.json`;
    await expect(readConfig(path)).rejects.toThrow(message);
  });

  test("is overridden by flags, and settings that a flag makes meaningless are dropped", () => {
    const { values } = checkFlags({ budget: 50, schedule: "uba", phi: 5, optimizer: "sgd", momentum: 0.8, warmup: 7 });
    const file = {
      values,
      label: (field: string) => `c.json: ${field}`,
    };
    const kept = completeConfig(checkFlags({ budget: 60 }), file).settings;
    expect(kept).toMatchObject({ budget: 60, phi: 5, momentum: 0.8, warmup: 7 });
    const changed = completeConfig(checkFlags({ schedule: "cosine", optimizer: "adam" }), file).settings;
    expect(changed).toMatchObject({ schedule: "cosine", optimizer: "adam", budget: 50, warmup: 7 });
    expect(changed).not.toHaveProperty("phi");
    expect(changed).not.toHaveProperty("momentum");
  });

  test("leads to schedule errors that name the source of the value", () => {
    const file = { values: { phi: -1 }, label: (field: string) => `c.json: ${field}` };
    expect(() => completeConfig(none, file)).toThrow("c.json: phi: expected a finite number above 0");
    expect(() => completeConfig(checkFlags({ phi: -2 }), file)).toThrow("--phi: expected a finite number above 0");
  });
});

describe("words of other programs", () => {
  test.each([
    ["steps", "budget", "20", 20],
    ["batchSize", "batch", "32", 32],
    ["lr", "maxLr", "0.5", 0.5],
    ["learningRate", "maxLr", "0.5", 0.5],
    ["wd", "weightDecay", "0.1", 0.1],
  ])("%s is %s", (word, field, text, value) => {
    expect(fromFlags(trainFields, { [word]: text })).toEqual({ [field]: value });
    const both = () => fromFlags(trainFields, { [word]: text, [field]: text });
    expect(both).toThrow(`${flagOf(word)}: expected either this flag or ${flagOf(field)}, got both`);
  });
});

describe("epochs", () => {
  const budgetOf = (flags: Record<string, unknown>, trainItems: number, values = {}) =>
    completeConfig(checkFlags(flags), { values, label: String }, { trainItems }).settings.budget;

  test("are passes over the training items in whole batches", () => {
    expect(budgetOf({ epochs: 3 }, 60_000)).toBe(3 * Math.floor(60_000 / 128));
    expect(budgetOf({ epochs: 0.5, batch: 10 }, 100)).toBe(5);
    expect(budgetOf({ epochs: 2, batch: 10, accumulate: 4 }, 109)).toBe(5);
    expect(budgetOf({ epochs: 0.001, batch: 10 }, 100)).toBe(1);
  });

  test("are stored as steps, so that the run can be resumed", () => {
    expect(completeConfig(checkFlags({ epochs: 3 }), undefined, { trainItems: 1000 }).settings).not.toHaveProperty(
      "epochs",
    );
  });

  test("and a budget exclude each other, and a flag replaces the other one of a file", () => {
    expect(() => completeConfig(checkFlags({ epochs: 1, budget: 5 }))).toThrow("--epochs: expected either epochs or");
    expect(budgetOf({ epochs: 1, batch: 10 }, 100, { budget: 7 })).toBe(10);
    expect(budgetOf({ budget: 7 }, 100, { epochs: 1 })).toBe(7);
  });

  test("are many steps as long as the data are unknown, so that a warm-up is not refused", () => {
    const settings = { epochs: 1, warmup: 1000 };
    expect(completeConfig(checkFlags(settings)).settings).toMatchObject({ warmup: 1000 });
    expect(() => budgetOf(settings, 1280)).toThrow("--warmup: expected fewer steps");
  });
});

describe("evaluations during the run", () => {
  test("hold back a part of the images that the run is not tested on", () => {
    expect(completeConfig(checkFlags({ evaluateEvery: 10 })).settings).toMatchObject({ validation: 0.1 });
    expect(completeConfig(checkFlags({ evaluateEvery: 10, validation: 0.3 })).settings.validation).toBe(0.3);
    expect(completeConfig(checkFlags({ evaluateEvery: 10, data: "tokens:x" })).settings).not.toHaveProperty(
      "validation",
    );
    expect(completeConfig(none).settings).not.toHaveProperty("validation");
  });

  test("do not change the data of a run that began without a validation split", () => {
    const stored = { values: { evaluateEvery: 10 }, label: String };
    expect(resumedConfig(stored, none).settings).not.toHaveProperty("validation");
  });

  test("take a number of items only if there are any", () => {
    expect(() => completeConfig(checkFlags({ evaluationItems: 5 }))).toThrow(
      "--evaluation-items: expected only with --evaluate-every",
    );
  });
});

describe("defaults", () => {
  test("are those of `npm start`", () => {
    expect(completeConfig(none).settings).toEqual({
      model: "resnet8",
      data: "mnist",
      augment: false,
      budget: 600,
      batch: 128,
      accumulate: 1,
      precision: "float32",
      optimizer: "adamw",
      schedule: "uba",
      maxLr: 0.01,
      minLr: 0,
      warmup: 30,
      phi: 2,
      weightDecay: 0.01,
      nonFinite: "stop",
      seed: 0,
      device: "auto",
      capture: false,
      checkpointEvery: 150,
    });
  });

  test.each([
    ["sgd", { maxLr: 0.1, momentum: 0.9, weightDecay: 0 }],
    ["adam", { maxLr: 0.001, weightDecay: 0 }],
  ])("%s", (optimizer, expected) => {
    expect(completeConfig(checkFlags({ optimizer })).settings).toMatchObject(expected);
  });

  test("of an optimizer are those of the table, and the help lists them", () => {
    const helpFor = (field: string) => helpOf(trainFields, field).fallback ?? "";
    const rates = optimizerNames.map((optimizer) => {
      const { momentum, weightDecay, maxLr } = optimizersByName[optimizer];
      for (const [data, rate] of Object.entries({ mnist: maxLr.images, "tokens:some": maxLr.text })) {
        const { settings } = completeConfig(checkFlags({ optimizer, data }));
        expect(settings).toMatchObject({ maxLr: rate, weightDecay, ...(momentum !== undefined && { momentum }) });
        expect("momentum" in settings).toBe(momentum !== undefined);
      }
      const part = helpFor("maxLr")
        .split("; ")
        .find((words) => new RegExp(`\\b${optimizer}\\b`).test(words));
      expect(part).toMatch(new RegExp(`^${maxLr.images} for`));
      if (maxLr.text !== maxLr.images) expect(part).toMatch(new RegExp(`, or ${maxLr.text} for text$`));
      return [optimizer, [maxLr.images, maxLr.text]];
    });
    expect(Object.fromEntries(rates)).toEqual({
      sgd: [0.1, 0.1],
      adam: [1e-3, 1e-3],
      adamw: [1e-2, 2e-3],
      lion: [1e-3, 1e-3],
    });
    expect(helpFor("maxLr")).toBe("0.01 for adamw, or 0.002 for text; 0.1 for sgd; 0.001 for adam and lion");
    expect(helpFor("weightDecay")).toBe("0.01 for adamw, else 0");
    expect(helpFor("momentum")).toBe("0.9");
    expect(helpFor("optimizer")).toBe(defaultOptimizer);
  });

  test("of text are another model and windows, which other data do not inherit", () => {
    const text = completeConfig(checkFlags({ data: "tokens:some" })).settings;
    expect(text).toMatchObject({ model: "olmo-nano", context: 128, batch: 16, maxLr: 0.002 });
    const file = { values: { data: "tokens:some", context: 64, classes: 3 }, label: flagOf };
    expect(completeConfig(checkFlags({ data: "tokens:other" }), file).settings).toMatchObject({ context: 64 });
    const images = completeConfig(checkFlags({ data: "mnist" }), file).settings;
    expect(images).not.toHaveProperty("context");
  });

  test("complete settings are a valid configuration", () => {
    const text = completeConfig(checkFlags({ data: "tokens:some", context: 8 })).settings;
    expect(completeConfig(none, checkFlags({ ...text })).settings).toEqual(text);
    for (const schedule of ["uba", "step", "one-cycle", "inverse-sqrt", "wsd", "cosine-restarts"]) {
      const first = completeConfig(checkFlags({ schedule, budget: 40, optimizer: "sgd", data: "idx:some" }));
      const file = JSON.parse(JSON.stringify(first.settings));
      const second = completeConfig(none, checkFlags(file));
      expect(second.settings, schedule).toEqual(first.settings);
      expect(second.schedule.toJSON()).toEqual(first.schedule.toJSON());
    }
  });
});

describe("a resumed run", () => {
  const stored = { values: completeConfig(checkFlags({ budget: 40, data: "idx:some" })).settings, label: flagOf };
  const given = { ...stored, values: { ...stored.values } };

  test("accepts flags that repeat its settings or do not affect it", () => {
    const flags = checkFlags({ budget: 40, data: "idx:some", checkpointEvery: 3, threads: 1 });
    expect(resumedConfig(given, flags).settings).toEqual({ ...stored.values, checkpointEvery: 3, threads: 1 });
  });

  test("identifies its weights by their full path", () => {
    const { settings } = completeConfig(checkFlags({ weights: "some.safetensors", classifier: "skip" }));
    expect(settings.weights).toBe(`${process.cwd()}/some.safetensors`);
    const run = { values: { ...settings }, label: flagOf };
    expect(resumedConfig(run, checkFlags({ weights: "./some.safetensors" })).settings).toEqual(settings);
    expect(() => resumedConfig(run, checkFlags({ weights: "other.safetensors" }))).toThrow(
      "--weights: the run to resume has",
    );
  });

  test.each([
    [{ budget: 41 }, "--budget: the run to resume has 40; to change it, add --allow schedule"],
    [{ phi: 3 }, "--phi: the run to resume has"],
    [{ seed: 1 }, "--seed: the run to resume has 0, which cannot be changed"],
    [{ clipNorm: 1 }, "--clip-norm: the run to resume had none"],
  ])("refuses %o", (values, message) => {
    expect(() => resumedConfig(given, checkFlags(values))).toThrow(message);
    expect(() => resumedConfig(given, checkFlags(values), ["data"])).toThrow(message);
  });

  test("accepts another path of the data, and another schedule if allowed, and reports the changes", () => {
    const { settings, changes } = resumedConfig(given, checkFlags({ data: "idx:other" }));
    expect(settings.data).toBe(`idx:${process.cwd()}/other`);
    expect(changes).toEqual([{ field: "data", before: stored.values.data, after: settings.data }]);
    const more = resumedConfig(given, checkFlags({ budget: 41, schedule: "constant" }), ["schedule"]);
    expect(more.schedule.budget).toBe(41);
    expect(more.changes).toContainEqual({ field: "budget", before: 40, after: 41 });
    expect(more.changes).toContainEqual({ field: "schedule", before: stored.values.schedule, after: "constant" });
  });
});
