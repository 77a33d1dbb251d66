import { z } from "zod";
import { names as modelNames } from "../../models/index.js";
import { defaultOptimizer, optimizerNames } from "../../optim/by-name.js";
import { names as scheduleNames } from "../../schedule/index.js";
import { defaultSchedules } from "../../study/index.js";
import { sourcesInWords } from "../../tasks/index.js";
import { type FieldHelp, type Fields, type Groups, help } from "../config/fields.js";

/** Makes a field for a flag. The study checks the value, so that a file and a flag get the same error message. */
function flag(kind: FieldHelp["kind"], placeholder: string, description: string, fallback?: string): z.ZodType {
  return z.unknown().register(help, { kind, placeholder, expected: "", description, fallback });
}

const listed = (what: string, words: readonly string[]) => `${what}: ${words.join(", ")}`;

const schedulesByDefault = `${defaultSchedules.join(",")}; for quadratics also constant`;

/** The fields of a `study.json` as flags. */
export const compareFields: Fields = {
  kind: flag("text", "<training|quadratics>", "what to compare the schedules on", "training"),
  title: flag("text", "<text>", "title of the report"),
  notes: flag("json", "<json>", "limits of the study, printed first in the report: a list of strings", "none"),
  models: flag("words", "<name,…>", listed("models", modelNames), "mlp"),
  data: flag("words", "<source,…>", `data: ${sourcesInWords}; with --config, only new locations of its data`, "mnist"),
  validation: flag("number", "<share>", "share of the training items held back for tuning", "0.1"),
  evaluationItems: flag("number", "<n>", "largest number of items evaluated per split", "all"),
  evaluations: flag("number", "<n>", "evaluations on the validation split during a final run", "4"),
  batch: flag("number", "<n>", "items per batch", "128"),
  accumulate: flag("number", "<n>", "batches averaged into one step", "1"),
  augment: flag("switch", "", "augment the training items", "off"),
  steps: flag("number", "<n>", "steps of a full run", "200"),
  budgets: flag("numbers", "<x,…>", "fractions of --steps; for quadratics, numbers of steps", "0.5,1 or 16,64"),
  warmup: flag("number", "<x>", "warm-up as a fraction of each budget, for schedules that have one", "0.05"),
  optimizers: flag("words", "<name,…>", listed("optimizers", optimizerNames), defaultOptimizer),
  peakLearningRates: flag(
    "numbers",
    "<x,…>",
    "highest rates of the first trials of all schedules but UBA",
    "4 around the usual rate",
  ),
  uba: flag("json", "<json>", "first trials of UBA: peakLearningRates and phi", "2 rates with phi 1 and 4"),
  schedules: flag("words", "<name,…>", listed("schedules", scheduleNames), schedulesByDefault),
  measure: flag("text", "<loss|accuracy>", "measure by which trials are chosen and schedules compared", "loss"),
  margin: flag("number", "<x>", "largest difference in the measure that counts as a tie", "none"),
  extensions: flag("number", "<n>", "how often a grid may be extended if its best trial is at its edge", "2"),
  tuningSeeds: flag("numbers", "<n,…>", "seeds of the trials", "0"),
  finalSeeds: flag("numbers", "<n,…>", "seeds of the final runs", "1,2,3,4,5"),
  conditionNumbers: flag("numbers", "<x,…>", "condition numbers of the quadratics", "10,100,1000"),
  stabilityLimits: flag("numbers", "<x,…>", "highest rates on quadratics, in units of 1/λ_u", "2,10,100"),
  floors: flag("numbers", "<x,…>", "lowest rates on quadratics, in units of 1/λ_u", "0,1"),
};

/** Headings of the fields in the help. */
export const compareGroups: Groups = {
  "Study:": ["kind", "title", "notes"],
  "Trainings:": [
    "models",
    "data",
    "validation",
    "evaluationItems",
    "evaluations",
    "batch",
    "accumulate",
    "augment",
    "steps",
    "budgets",
    "warmup",
  ],
  "Schedules and tuning:": [
    "schedules",
    "optimizers",
    "peakLearningRates",
    "uba",
    "measure",
    "margin",
    "extensions",
    "tuningSeeds",
    "finalSeeds",
  ],
  "Quadratics:": ["conditionNumbers", "stabilityLimits", "floors"],
};
