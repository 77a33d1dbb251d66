import { describe } from "../errors.js";
import type { RecordedEvaluation, RecordedStep } from "../report/index.js";
import { recordedNumber } from "../train/records-file.js";

/** One line of `metrics.jsonl`. */
export interface Metric extends RecordedStep {
  readonly items: number;
  readonly gradientNorm?: number;
  readonly skipped?: boolean;
  /** Of training, since the run began. */
  readonly seconds: number;
}

/** A line of `metrics.jsonl`, checked. Throws what is wrong with it. */
export function readMetric(value: unknown): Metric {
  const line = new Line(value);
  return {
    ...line.fields,
    step: line.count("step"),
    loss: line.number("loss"),
    learningRate: line.number("learningRate"),
    items: line.count("items"),
    ...("gradientNorm" in line.fields && { gradientNorm: line.number("gradientNorm") }),
    seconds: line.number("seconds"),
  };
}

/** A line of `evaluations.jsonl`, checked. Throws what is wrong with it. */
export function readEvaluation(value: unknown): RecordedEvaluation {
  const line = new Line(value);
  return {
    step: line.count("step"),
    split: line.text("split"),
    loss: line.number("loss"),
    ...("accuracy" in line.fields && { accuracy: line.number("accuracy") }),
  };
}

/** One line of `changes.jsonl`: a setting that the run goes on with otherwise, from a step on. */
export interface Change {
  /** Steps made before. */
  readonly step: number;
  readonly field: string;
  readonly before: unknown;
  readonly after: unknown;
}

/** A line of `changes.jsonl`, checked. Throws what is wrong with it. */
export function readChange(value: unknown): Change {
  const line = new Line(value);
  const { before = null, after = null } = line.fields;
  return { step: line.count("step"), field: line.text("field"), before, after };
}

/** The fields of a record. Each method throws if its field is something else. */
class Line {
  readonly fields: Readonly<Record<string, unknown>>;

  constructor(value: unknown) {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw new Error(`expected the object of a record, found ${describe(value)}`);
    this.fields = value as Record<string, unknown>;
  }

  number(name: string): number {
    return recordedNumber(this.fields[name]) ?? this.#refuse(name, "a number");
  }

  count(name: string): number {
    const value = this.fields[name];
    return Number.isSafeInteger(value) && (value as number) >= 0
      ? (value as number)
      : this.#refuse(name, "a whole number of at least 0");
  }

  text(name: string): string {
    const value = this.fields[name];
    return typeof value === "string" ? value : this.#refuse(name, "a text");
  }

  #refuse(name: string, expected: string): never {
    throw new Error(`${name}: expected ${expected}, found ${describe(this.fields[name])}`);
  }
}
