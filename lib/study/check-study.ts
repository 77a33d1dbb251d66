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
      const others = optimizerNames.filter(takesMomentum).join(" and ");
      refuse(label(["optimizers", i, "momentum"]), `none for ${name}: only ${others} has momentum`, momentum);
    }
    const [baseline, own] = [peakLearningRates.length, uba.peakLearningRates.length * uba.phi.length];
    if (schedules.length > 1 && baseline !== own)
      throw new StepsizeError(
        "invalid-argument",
        `${label(["optimizers", i])}: expected the same number of trials for every schedule, got for ${name} ` +
          `${uba.peakLearningRates.length} peak learning rates × ${uba.phi.length} values of phi = ${own} for UBA ` +
          `and ${baseline} peak learning rates for the others`,
      );
  }
  const again = finalSeeds.filter((seed) => tuningSeeds.includes(seed));
  if (again.length > 0)
    refuse(label(["finalSeeds"]), `seeds that are not used for tuning (${again.join(", ")} is)`, finalSeeds);
  const stepsOf = budgets.map((budget) => stepsIn(steps, budget));
  // Budgets are ascending, so equal numbers of steps are adjacent.
  const twice = stepsOf.findIndex((own, i) => i > 0 && own === stepsOf[i - 1]);
  if (twice >= 0)
    refuse(label(["budgets", twice]), `a fraction with another number of steps than the one before`, budgets[twice]);
  const runs = runsAtLeast(study);
  if (runs > mostRuns)
    throw new StepsizeError(
      "invalid-argument",
      `${label([]) || "study"}: expected at most ${mostRuns} runs, got ${runs} from its models, data, optimizers, budgets, schedules, trials and seeds`,
    );
  schedules.forEach((schedule, i) => {
    checkOptions(schedule, study, (option) => label(["schedules", i, ...(option === "" ? [] : [option])]));
  });
}

/** Largest number of runs of a study. No study needs more, and the plan is computed again after each run. */
const mostRuns = 100_000;

/** Counts the runs of a study before any grid is extended. */
function runsAtLeast({ models, data, optimizers, budgets, schedules, tuningSeeds, finalSeeds }: TrainingStudy): number {
  const cells = models.length * data.length * budgets.length;
  return optimizers.reduce((sum, { peakLearningRates }) => {
    const each = peakLearningRates.length * tuningSeeds.length + finalSeeds.length;
    return sum + cells * schedules.length * each;
  }, 0);
}

/** Creates the schedule once for each budget, so that a wrong option is found before hours of training. */
function checkOptions({ name, options }: StudySchedule, study: TrainingStudy, label: (option: string) => string): void {
  for (const option of ["budget", "maxLr", "warmup", ...(name === "uba" ? ["phi", "phases"] : [])])
    if (option in options) refuse(label(option), "none: the study sets it", options[option]);
  const rates = study.optimizers.flatMap((each) => [...each.peakLearningRates, ...each.uba.peakLearningRates]);
  const maxLr = rates.reduce((least, rate) => Math.min(least, rate));
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
