import { isObject } from "../realms.js";
import type { EvaluationPoint } from "./messages.js";
import { numberIn } from "./step-series.js";

/** Largest number of evaluations that are kept. */
const maxEvaluations = 2000;

/** The evaluations of a run. If there are too many, every second one is dropped. */
export class EvaluationList {
  #points: EvaluationPoint[] = [];
  /** One of so many evaluations is kept. */
  #every = 1;
  #seen = 0;
  #last: EvaluationPoint | undefined;

  /** Adds a line of `evaluations.jsonl`. Anything else is ignored. */
  add(value: unknown): void {
    if (!isObject(value)) return;
    const { step, split, loss, accuracy } = value;
    if (typeof step !== "number" || !Number.isSafeInteger(step)) return;
    const point = { step, split: textIn(split), loss: finiteIn(loss), accuracy: finiteIn(accuracy) };
    this.#last = point;
    if (this.#seen++ % this.#every === 0) this.#points.push(point);
    if (this.#points.length <= maxEvaluations) return;
    this.#points = this.#points.filter((_, i) => i % 2 === 0);
    this.#every *= 2;
  }

  get last(): EvaluationPoint | undefined {
    return this.#last;
  }

  /** The evaluations in order, the last one included. */
  get points(): readonly EvaluationPoint[] {
    const last = this.#last;
    return last === undefined || this.#points.at(-1) === last ? this.#points : [...this.#points, last];
  }
}

/** Longest text of a file that is shown on the page. */
const maxText = 300;

/** Returns a text of a file for the page; empty if the value is no text. */
export function textIn(value: unknown): string {
  return typeof value === "string" ? value.slice(0, maxText) : "";
}

/** Returns a finite number of a file, or `null`. */
export function finiteIn(value: unknown): number | null {
  const number = numberIn(value);
  return Number.isFinite(number) ? number : null;
}
