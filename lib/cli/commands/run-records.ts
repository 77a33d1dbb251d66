import { anyNumber } from "../../files/json-lines-file.js";
import type { RecordedEvaluation, RecordedStep } from "../../report/index.js";
import { anything, count, flag, object, optional, text } from "../../schema.js";

/** One line of `metrics.jsonl`. */
export interface Metric extends RecordedStep {
  readonly items: number;
  readonly gradientNorm?: number;
  readonly skipped?: boolean;
  /** Of training, since the run began. */
  readonly seconds: number;
  /** The part of `seconds` for which the device waited for data. Earlier versions did not record it. */
  readonly dataWait?: number;
  /** Bytes of the device's memory that tensors use or keep for later ones. Earlier versions did not record it. */
  readonly memory?: number;
}

/** A line of `metrics.jsonl`. */
export const metricSchema = object<Metric>({
  step: count,
  loss: anyNumber,
  learningRate: anyNumber,
  items: count,
  gradientNorm: optional(anyNumber),
  skipped: optional(flag),
  seconds: anyNumber,
  dataWait: optional(anyNumber),
  memory: optional(count),
});

/** A line of `evaluations.jsonl`. */
export const evaluationSchema = object<RecordedEvaluation>({
  step: count,
  split: text,
  loss: anyNumber,
  accuracy: optional(anyNumber),
});

/** One line of `changes.jsonl`: a setting that the run goes on with otherwise, from a step on. */
export interface Change {
  /** Steps made before. */
  readonly step: number;
  readonly field: string;
  readonly before: unknown;
  readonly after: unknown;
}

/** A line of `changes.jsonl`. */
export const changeSchema = object<Change>({ step: count, field: text, before: anything, after: anything });
