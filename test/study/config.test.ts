import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import * as models from "#lib/models/index.js";
import { defaultOptimizer, optimizerNames, optimizersByName } from "#lib/optim/by-name.js";
import { completeStudy, type TrainingStudy } from "#lib/study/index.js";
import { sourcesInWords } from "#lib/tasks/index.js";
import { expectError } from "../support/errors.js";

const training = (given: Record<string, unknown>) => completeStudy(given) as TrainingStudy;

describe("omitted settings", () => {
  test("get defaults, which form a valid study", () => {
    const study = training({});
    expect(study).toMatchObject({ kind: "training", title: "mlp on mnist", measure: "loss", extensions: 2 });
    expect(study.schedules.map(({ name }) => name)).toEqual([
      "step",
      "cosine",
      "linear",
      "rex",
      "cyclical",
      "one-cycle",
      "uba",
    ]);
    expect(study.finalSeeds).toHaveLength(5);
    expect(completeStudy({ kind: "quadratics" })).toMatchObject({ kind: "quadratics", floors: [0, 1] });
  });

  test.each(optimizerNames)("give UBA as many trials as the others with %s", (name) => {
    const [optimizer] = training({ optimizers: [name] }).optimizers;
    const { peakLearningRates, phi } = optimizer?.uba ?? { peakLearningRates: [], phi: [] };
    expect(peakLearningRates.length * phi.length).toBe(optimizer?.peakLearningRates.length);
  });

  test("include rates around the one in the table of optimizers", () => {
    const { optimizers } = training({ optimizers: optimizerNames });
    for (const { name, peakLearningRates, uba } of optimizers) {
      const { study } = optimizersByName[name].maxLr;
      expect(peakLearningRates).toEqual([study / 2, study, study * 2, study * 4]);
      expect(uba.peakLearningRates).toEqual([study, study * 2]);
    }
    expect(training({}).optimizers[0]?.name).toBe(defaultOptimizer);
    const centers = optimizers.map(({ name, peakLearningRates }) => [name, peakLearningRates[1]]);
    expect(Object.fromEntries(centers)).toEqual({ sgd: 0.1, adam: 1e-3, adamw: 2e-3, lion: 2e-4 });
  });

  test("include the momentum and decay of train", () => {
    const { optimizers } = training({ optimizers: ["sgd", "adamw"] });
    expect(optimizers).toMatchObject([{ momentum: 0.9, weightDecay: 0 }, { weightDecay: 0.01 }]);
    expect(optimizers[1]).not.toHaveProperty("momentum");
    for (const { name, momentum, weightDecay } of training({ optimizers: optimizerNames }).optimizers)
      expect({ momentum, weightDecay }).toEqual({
        momentum: optimizersByName[name].momentum,
        weightDecay: optimizersByName[name].weightDecay,
      });
  });

  test("include the rates for all optimizers, unless an optimizer has its own", () => {
    const uba = { peakLearningRates: [1], phi: [1, 2] };
    const { optimizers } = training({
      peakLearningRates: [1, 2],
      uba,
      optimizers: ["adamw", { name: "sgd", peakLearningRates: [3, 4] }],
    });
    expect(optimizers.map(({ peakLearningRates }) => peakLearningRates)).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect(optimizers.map((each) => each.uba)).toEqual([uba, uba]);
  });
});

describe("data are named by their kind, not by their path", () => {
  test.each([
    ["mnist", "mnist"],
    ["cifar10:some/where/cifar-10-batches-bin", "cifar10"],
    ["idx:/data/fashion-mnist/", "idx:fashion-mnist"],
  ])("%s is %s", (source, name) => {
    expect(training({ data: [source] }).data).toEqual([{ source, name }]);
  });

  test("unless they are given a name", () => {
    const data = [{ source: "cifar10:a/b", name: "cifar10-jpeg" }];
    expect(training({ data }).data).toEqual(data);
  });
});

describe("a wrong field is refused with its place, the expected value and the given one", () => {
  // 2 optimizers × 11 budgets × 7 schedules × (4 trials + 1000 final runs)
  const tooManyRuns = {
    optimizers: ["sgd", "adamw"],
    budgets: Array.from({ length: 11 }, (_, i) => (i + 1) / 11),
    finalSeeds: Array.from({ length: 1000 }, (_, i) => i + 1),
  };
  test.each<[string, Record<string, unknown>, ...string[]]>([
    ["an unknown field", { modles: ["mlp"] }, "modles", "unknown field", "did you mean models?"],
    [
      "an unknown field of an optimizer",
      { optimizers: [{ name: "sgd", weightDecai: 1 }] },
      "optimizers[0].weightDecai",
      "did you mean weightDecay?",
    ],
    ["an unknown kind", { kind: "quadratic" }, "kind", '"training" or "quadratics"', '"quadratic"'],
    ["an unknown model", { models: ["resnet9"] }, "models[0]", "did you mean resnet8", '"resnet9"'],
    ["an unknown optimizer", { optimizers: ["adamv"] }, "optimizers[0]:", "did you mean adam", '"adamv"'],
    ["an unknown schedule", { schedules: ["uba", "cosin"] }, "schedules[1]:", "did you mean cosine", '"cosin"'],
    ["unknown data", { data: ["minst"] }, "data[0]:", sourcesInWords, '"minst"'],
    ["a wrong task of a table", { data: [{ source: "csv:a", task: "rank" }] }, "data[0].task", '"rank"'],
    ["a share of 1", { data: [{ source: "csv:a", target: "y", test: 1 }] }, "data[0].test", "above 0 and below 1"],
    ["an unknown setting of data", { data: [{ source: "csv:a", tarket: "y" }] }, "tarket", "did you mean target?"],
    ["no models", { models: [] }, "models", "at least one", "[]"],
    ["no budgets", { budgets: [] }, "budgets", "at least one"],
    ["no seeds", { finalSeeds: [] }, "finalSeeds", "at least one"],
    ["a budget above 1", { budgets: [0.5, 1.5] }, "budgets[1]", "at most 1", "1.5"],
    ["a budget of 0", { budgets: [0, 1] }, "budgets[0]", "above 0", "got 0"],
    ["decreasing budgets", { budgets: [1, 0.5] }, "budgets", "each larger than the one before"],
    [
      "budgets of equally many steps",
      { steps: 10, budgets: [0.5, 0.51] },
      "budgets[1]",
      "another number of steps",
      "0.51",
    ],
    ["a peak rate of 0", { peakLearningRates: [0, 1] }, "peakLearningRates[0]", "above 0"],
    ["decreasing peak rates", { peakLearningRates: [2, 1] }, "peakLearningRates", "each larger"],
    ["a rate that is not a number", { peakLearningRates: ["a"] }, "peakLearningRates[0]", "above 0", '"a"'],
    ["φ below 0", { uba: { peakLearningRates: [1], phi: [-1] } }, "uba.phi[0]", "above 0", "-1"],
    [
      "unequal trials",
      { optimizers: [{ name: "sgd", peakLearningRates: [1, 2, 3] }] },
      "optimizers[0]",
      "the same number of trials",
      "2 peak learning rates × 2 values of phi = 4",
      "and 3 peak learning rates for the others",
    ],
    ["no UBA", { schedules: ["cosine"] }, "schedules", "a list with uba"],
    ["a schedule twice", { schedules: ["uba", "cosine", "cosine"] }, "schedules", "none of them twice"],
    ["a seed twice", { finalSeeds: [1, 1] }, "finalSeeds", "none of them twice"],
    [
      "a seed of tuning in the final runs",
      { tuningSeeds: [0, 3], finalSeeds: [1, 2, 3] },
      "finalSeeds",
      "not used for tuning",
      "3",
    ],
    [
      "momentum of adamw",
      { optimizers: [{ name: "adamw", momentum: 0.9 }] },
      "optimizers[0].momentum",
      "only sgd",
      "0.9",
    ],
    ["an option of another schedule", { schedules: ["uba", { name: "cosine", gamma: 0.1 }] }, "schedules[1]", "gamma"],
    [
      "a wrong value of an option",
      { schedules: ["uba", { name: "step", gamma: 2 }] },
      "schedules[1].gamma",
      "at most 1",
      "got 2",
    ],
    [
      "a peak rate among the options",
      { schedules: ["uba", { name: "step", maxLr: 1 }] },
      "schedules[1].maxLr",
      "the study sets it",
    ],
    ["φ among the options", { schedules: [{ name: "uba", phi: 2 }] }, "schedules[0].phi", "the study sets it"],
    ["a whole budget of warm-up", { warmup: 1 }, "warmup", "below 1"],
    ["no validation", { validation: 0 }, "validation", "above 0"],
    ["an unknown measure", { measure: "acuracy" }, "measure", "did you mean accuracy"],
    ["a margin of 0", { margin: 0 }, "margin", "above 0"],
    ["half an extension", { extensions: 0.5 }, "extensions", "whole number"],
    ["a field of quadratics", { conditionNumbers: [10] }, "conditionNumbers", "unknown field"],
    ["too many runs", tooManyRuns, "study: expected at most 100000 runs, got 154616 from its models"],
    ["a condition number of 1", { kind: "quadratics", conditionNumbers: [1] }, "conditionNumbers[0]", "above 1"],
  ])("%s", async (_, given, ...words) => {
    await expectError(() => completeStudy(given), "invalid-argument", ...words);
  });
});

describe("the studies of the documentation", () => {
  const given = (name: string) =>
    JSON.parse(readFileSync(new URL(`../../docs/studies/${name}/study.json`, import.meta.url), "utf8"));

  test("resnet8 on CIFAR-10 compares seven schedules under three budgets with two optimizers", () => {
    const study = training(given("cifar10-resnet8"));
    expect(study.optimizers.map(({ name }) => name)).toEqual(["sgd", "adamw"]);
    expect([study.schedules.length, study.budgets, study.finalSeeds.length]).toEqual([7, [0.25, 0.5, 1], 5]);
  });

  test.skipIf(!models.names.includes("olmo-nano"))("OLMo-nano on text is valid", () => {
    expect(training(given("sotu-olmo-nano"))).toMatchObject({ measure: "loss", batch: 8 });
  });

  test("quadratics are valid", () => {
    expect(completeStudy(given("quadratics"))).toMatchObject({ kind: "quadratics", conditionNumbers: [10, 100, 1000] });
  });
});
