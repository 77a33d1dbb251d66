/**
 * Words for the names of settings, results and fields of records, for reports and the page of `stepsize watch`. This
 * module uses no API of Node.js, because the page loads it.
 *
 * @module
 */

const labels: Readonly<Record<string, string>> = {
  // settings
  weights: "initial weights",
  classifier: "last layer of the initial weights",
  classes: "number of classes",
  context: "tokens per window",
  validation: "share held back for validation",
  augment: "augmentation",
  budget: "budget of steps",
  batch: "items per batch",
  accumulate: "batches per step",
  maxLr: "highest learning rate",
  minLr: "lowest learning rate",
  phi: "φ",
  warmup: "warm-up steps",
  warmupFrom: "rate at the start of the warm-up",
  clipNorm: "largest gradient norm",
  nonFinite: "steps with a gradient that is not finite",
  capture: "captured steps",
  checkpointEvery: "steps between checkpoints",
  evaluateEvery: "steps between evaluations",
  evaluationItems: "items of an evaluation",
  keep: "kept checkpoints",
  tensorboard: "TensorBoard event files",
  // results
  steps: "steps made",
  testRmse: "RMSE on the test split",
  testR2: "R² on the test split",
  validationRmse: "RMSE on the validation split",
  validationR2: "R² on the validation split",
  finalLoss: "loss of the last step",
  seconds: "training time",
  run: "folder",
  host: "machine",
  dataWait: "time waiting for data",
  best: "best checkpoints",
  skipped: "skipped steps",
  code: "kind of error",
  version: "version of stepsize",
  commandLine: "command line",
  peakMemory: "highest memory of the device",
  // fields of records
  loss: "training loss",
  learningRate: "learning rate",
  gradientNorm: "gradient norm",
  itemsPerSecond: "items per second",
  memory: "memory of the device",
  dataWaitShare: "share of the time waiting for data",
  accuracy: "accuracy",
};

/** Returns the words for a name: those of the list, or the name's own words in lower case (`testLoss`: "test loss"). */
export function labelOf(name: string): string {
  const known = Object.hasOwn(labels, name) ? labels[name] : undefined;
  return known ?? name.replace(/([a-z\d])([A-Z])/g, (_, before, letter) => `${before} ${letter.toLowerCase()}`);
}

/** Returns the words for a name, with a capital at the beginning, for a heading. */
export function headingOf(name: string): string {
  const label = labelOf(name);
  return label === "φ" ? label : `${label.slice(0, 1).toUpperCase()}${label.slice(1)}`;
}

/** How a run ended. */
export type RunEnd = "finished" | "interrupted" | "diverged" | "failed";

/**
 * Returns how a run ended, from its `result.json`.
 *
 * @param status `completed`, `interrupted` or `failed`
 * @param code code of the error of a failed run; `non-finite` if a loss or a gradient was not finite
 */
export function endOf(status: unknown, code: unknown): RunEnd {
  if (status === "completed") return "finished";
  if (status === "interrupted") return "interrupted";
  return code === "non-finite" ? "diverged" : "failed";
}
