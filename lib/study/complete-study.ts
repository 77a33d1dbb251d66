import { defaultOptimizer, type OptimizerName, optimizersByName } from "../optim/by-name.js";
import { checkTogether } from "./check-study.js";
import type { QuadraticsStudy, Study, TrainingStudy } from "./config.js";
import { type Given, type Label, pathInWords, readFields, refuse } from "./read-fields.js";
import { quadraticsFields, trainingFields } from "./schema.js";

/** The default schedules of a study. */
export const defaultSchedules = ["step", "cosine", "linear", "rex", "cyclical", "one-cycle", "uba"];

/**
 * Checks the settings of a study and fills in what is not given.
 *
 * @param given the object of a `study.json`
 * @param label names a field in an error message; default by its path
 * @throws StepsizeError `invalid-argument` naming the field, what was expected and what came
 */
export function completeStudy(given: Readonly<Record<string, unknown>>, label: Label = pathInWords): Study {
  const { kind = "training", ...fields } = given;
  if (kind === "quadratics") return completeQuadratics(readFields(quadraticsFields, fields, label));
  if (kind !== "training") refuse(label(["kind"]), '"training" or "quadratics"', kind);
  return completeTraining(readFields(trainingFields, fields, label), label);
}

function completeQuadratics(given: Given<typeof quadraticsFields>): QuadraticsStudy {
  return {
    kind: "quadratics",
    title: "Schedules on quadratics",
    schedules: ["constant", ...defaultSchedules].map((name) => ({ name, options: {} })),
    conditionNumbers: [10, 100, 1000],
    budgets: [16, 64],
    stabilityLimits: [2, 10, 100],
    floors: [0, 1],
    ...given,
  };
}

function completeTraining(given: Given<typeof trainingFields>, label: Label): TrainingStudy {
  const { peakLearningRates: rates, uba, optimizers = [{ name: defaultOptimizer }], ...rest } = given;
  const { models = ["mlp"], data = [{ source: "mnist", name: "mnist" }] } = given;
  const study: TrainingStudy = {
    kind: "training",
    title: `${models.join(", ")} on ${data.map(({ name }) => name).join(", ")}`,
    models,
    data,
    validation: 0.1,
    evaluations: 4,
    batch: 128,
    accumulate: 1,
    augment: false,
    steps: 200,
    budgets: [0.5, 1],
    warmup: 0.05,
    schedules: defaultSchedules.map((name) => ({ name, options: {} })),
    measure: "loss",
    extensions: 2,
    tuningSeeds: [0],
    finalSeeds: [1, 2, 3, 4, 5],
    ...rest,
    optimizers: optimizers.map((optimizer: GivenOptimizer) => {
      const grid = defaultGrid(optimizer.name);
      const { momentum, weightDecay } = optimizersByName[optimizer.name];
      return {
        ...optimizer,
        ...(momentum !== undefined && { momentum: optimizer.momentum ?? momentum }),
        weightDecay: optimizer.weightDecay ?? weightDecay,
        peakLearningRates: optimizer.peakLearningRates ?? rates ?? grid.peakLearningRates,
        uba: optimizer.uba ?? uba ?? grid.uba,
      };
    }),
  };
  checkTogether(study, label);
  return study;
}

type GivenOptimizer = NonNullable<Given<typeof trainingFields>["optimizers"]>[number];

/** Returns the default grid of an optimizer: four trials around its usual rate. */
function defaultGrid(name: OptimizerName) {
  const { study: rate } = optimizersByName[name].maxLr;
  return {
    peakLearningRates: [rate / 2, rate, rate * 2, rate * 4],
    uba: { peakLearningRates: [rate, rate * 2], phi: [1, 4] },
  };
}
