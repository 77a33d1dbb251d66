import { StepsizeError } from "../errors.js";
import { optimizerNames, takesMomentum } from "../optim/by-name.js";
import { create } from "../schedule/index.js";
import { type StudySchedule, stepsIn, type TrainingStudy } from "./config.js";
import { type Label, refuse } from "./read-fields.js";

/**
 * Checks the settings of a study against each other.
 * @throws StepsizeError `invalid-argument` naming the field, what was expected and what came
 */
export function checkTogether(study: TrainingStudy, label: Label): void {
  const { budgets, steps, optimizers, schedules, tuningSeeds, finalSeeds } = study;
  if (!schedules.some(({ name }) => name === "uba"))
    refuse(
      label(["schedules"]),
      "a list with uba, which the others are compared with",
      schedules.map(({ name }) => name),
    );
  for (const [i, { name, momentum, peakLearningRates, uba }] of optimizers.entries()) {
    if (momentum !== undefined && !takesMomentum(name)) {
      const takers = optimizerNames.filter(takesMomentum).join(" and ");
      refuse(label(["optimizers", i, "momentum"]), `none for ${name}: only ${takers} has momentum`, momentum);
    }
    const [trials, ubaTrials] = [peakLearningRates.length, uba.peakLearningRates.length * uba.phi.length];
    if (schedules.length > 1 && trials !== ubaTrials)
      throw new StepsizeError(
        "invalid-argument",
        `${label(["optimizers", i])}: expected the same number of trials for every schedule, got for ${name} ` +
          `${uba.peakLearningRates.length} peak learning rates × ${uba.phi.length} values of phi = ${ubaTrials} for UBA ` +
          `and ${trials} peak learning rates for the others`,
      );
  }
  const repeated = finalSeeds.filter((seed) => tuningSeeds.includes(seed));
  if (repeated.length > 0)
    refuse(label(["finalSeeds"]), `seeds that are not used for tuning (${repeated.join(", ")} is)`, finalSeeds);
  const budgetSteps = budgets.map((budget) => stepsIn(steps, budget));
  // Budgets are ascending, so equal numbers of steps are adjacent.
  const duplicate = budgetSteps.findIndex((count, i) => count === budgetSteps[i - 1]);
  if (duplicate >= 0) {
    const expected = "a fraction with another number of steps than the one before";
    refuse(label(["budgets", duplicate]), expected, budgets[duplicate]);
  }
  const runs = leastRuns(study);
  if (runs > maxRuns)
    throw new StepsizeError(
      "invalid-argument",
      `${label([]) || "study"}: expected at most ${maxRuns} runs, got ${runs} from its models, data, optimizers, budgets, schedules, trials and seeds`,
    );
  schedules.forEach((schedule, i) => {
    checkOptions(schedule, study, (option) => label(["schedules", i, ...(option === "" ? [] : [option])]));
  });
}

/** Largest number of runs of a study. No study needs more, and the plan is computed again after each run. */
const maxRuns = 100_000;

/** Counts the runs of a study before any grid is extended. */
function leastRuns({ models, data, optimizers, budgets, schedules, tuningSeeds, finalSeeds }: TrainingStudy): number {
  const cells = models.length * data.length * budgets.length;
  return optimizers.reduce((sum, { peakLearningRates }) => {
    const perSchedule = peakLearningRates.length * tuningSeeds.length + finalSeeds.length;
    return sum + cells * schedules.length * perSchedule;
  }, 0);
}

/** Creates the schedule once for each budget, so that a wrong option is found before hours of training. */
function checkOptions({ name, options }: StudySchedule, study: TrainingStudy, label: (option: string) => string): void {
  for (const option of ["budget", "maxLr", "warmup", ...(name === "uba" ? ["phi", "phases"] : [])])
    if (option in options) refuse(label(option), "none: the study sets it", options[option]);
  const rates = study.optimizers.flatMap(({ peakLearningRates, uba }) => [
    ...peakLearningRates,
    ...uba.peakLearningRates,
  ]);
  const maxLr = rates.reduce((lowest, rate) => Math.min(lowest, rate));
  for (const budget of study.budgets) {
    try {
      create(name, { ...options, budget: stepsIn(study.steps, budget), maxLr });
    } catch (error) {
      if (!(error instanceof StepsizeError)) throw error;
      const message = error.message.replace(/^[\w-]+(?:\.(\w+))?/, (_, option?: string) => label(option ?? ""));
      throw new StepsizeError(error.code, message, { cause: error });
    }
  }
}
