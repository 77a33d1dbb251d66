import { z } from "zod";
import { names as modelNames } from "../models/index.js";
import { names as scheduleNames } from "../schedule/index.js";
import { optimizerNames, sourcesInWords } from "../tasks/index.js";
import { type FieldHelp, type Fields, help } from "./fields.js";

/** A field as a flag. The study itself checks its value, so that a file and a flag are refused in the same words. */
function flag(kind: FieldHelp["kind"], placeholder: string, description: string, fallback?: string): z.ZodType {
  return z.unknown().register(help, { kind, placeholder, expected: "", description, fallback });
}

const listed = (what: string, words: readonly string[]) => `${what}: ${words.join(", ")}`;

/** The fields of a `study.json` as flags. */
export const compareFields: Fields = {
  kind: flag("text", "<training|quadratics>", "what the schedules are compared on", "training"),
  title: flag("text", "<text>", "heading of the report"),
  notes: flag("json", "<json>", "limits of the study, for the head of the report: a list of texts", "none"),
  models: flag("words", "<name,…>", listed("models", modelNames), "mlp"),
  data: flag("words", "<source,…>", `data: ${sourcesInWords}; with --config only where the same data lie`, "mnist"),
  validation: flag("number", "<share>", "share of the training items held back to tune on", "0.1"),
  evaluationItems: flag("number", "<n>", "most items of a split that are evaluated", "all"),
  evaluations: flag("number", "<n>", "evaluations on the way of a final run", "4"),
  batch: flag("number", "<n>", "items per batch", "128"),
  accumulate: flag("number", "<n>", "batches averaged into one step", "1"),
  augment: flag("switch", "", "change the training items at random", "off"),
  steps: flag("number", "<n>", "steps of a full run", "200"),
  budgets: flag("numbers", "<x,…>", "fractions of a full run; for quadratics numbers of steps", "0.5,1; or 16,64"),
  warmup: flag("number", "<x>", "fraction of each budget, where a schedule takes a warm-up", "0.05"),
  optimizers: flag("words", "<name,…>", listed("optimizers", optimizerNames), "adamw"),
  peakLearningRates: flag("numbers", "<x,…>", "first trials of every schedule but UBA", "four around the usual rate"),
  uba: flag("json", "<json>", "first trials of UBA: peakLearningRates and phi", "two rates with phi 1 and 4"),
  schedules: flag("words", "<name,…>", listed("schedules", scheduleNames), "seven of them"),
  measure: flag("text", "<loss|accuracy>", "what trials are chosen and schedules compared by", "loss"),
  margin: flag("number", "<x>", "differences in it that make no difference", "none"),
  extensions: flag("number", "<n>", "how often a grid may be extended at its edge", "2"),
  tuningSeeds: flag("numbers", "<n,…>", "seeds of the trials", "0"),
  finalSeeds: flag("numbers", "<n,…>", "seeds of the final runs", "1,2,3,4,5"),
  conditionNumbers: flag("numbers", "<x,…>", "of the quadratics", "10,100,1000"),
  stabilityLimits: flag("numbers", "<x,…>", "highest rates on quadratics, in units of 1/λ_u", "2,10,100"),
  floors: flag("numbers", "<x,…>", "lowest rates on quadratics, in units of 1/λ_u", "0,1"),
};
