import { StepsizeError } from "../errors.js";
import { create } from "../schedule/index.js";
import { type StudySchedule, stepsIn, type TrainingStudy } from "./config.js";
import { type Label, refuse } from "./read-fields.js";

/** Checks the settings of a study against each other. */
export function checkTogether(study: TrainingStudy, label: Label): void {
  const { budgets, steps, optimizers, schedules, tuningSeeds, finalSeeds } = study;
  if (!schedules.some(({ name }) => name === "uba"))
    refuse(
      label(["schedules"]),
      "uba among them, which the others are compared with",
      schedules.map(({ name }) => name),
    );
  for (const [i, { name, momentum, peakLearningRates, uba }] of optimizers.entries()) {
    if (momentum !== undefined && name !== "sgd")
      refuse(label(["optimizers", i, "momentum"]), `none: only sgd takes it, and this is ${name}`, momentum);
    const [baseline, own] = [peakLearningRates.length, uba.peakLearningRates.length * uba.phi.length];
    if (schedules.length > 1 && baseline !== own)
      throw new StepsizeError(
        "invalid-argument",
        `${label(["optimizers", i])}: expected equally many trials for every schedule; with ${name} UBA gets ` +
          `${uba.peakLearningRates.length} peak learning rates × ${uba.phi.length} values of phi = ${own}, ` +
          `and the others ${baseline} peak learning rates`,
      );
  }
  const again = finalSeeds.filter((seed) => tuningSeeds.includes(seed));
  if (again.length > 0)
    refuse(label(["finalSeeds"]), `seeds that are not used for tuning (${again.join(", ")} is)`, finalSeeds);
  const stepsOf = budgets.map((budget) => stepsIn(steps, budget));
  const twice = stepsOf.findIndex((own, i) => stepsOf.indexOf(own) < i);
  if (twice >= 0)
    refuse(label(["budgets", twice]), `a fraction that is another number of steps than the one before`, budgets[twice]);
  schedules.forEach((schedule, i) => {
    checkOptions(schedule, study, (option) => label(["schedules", i, option]));
  });
}

/** Makes the schedule once for each budget, so that a wrong option is found before hours of training. */
function checkOptions({ name, options }: StudySchedule, study: TrainingStudy, label: (option: string) => string): void {
  for (const option of ["budget", "maxLr", "warmup", ...(name === "uba" ? ["phi", "phases"] : [])])
    if (option in options) refuse(label(option), "none: the study sets it", options[option]);
  const maxLr = Math.min(
    ...study.optimizers.flatMap((each) => [...each.peakLearningRates, ...each.uba.peakLearningRates]),
  );
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
