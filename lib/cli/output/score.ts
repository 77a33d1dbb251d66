import type { Task } from "../../tasks/index.js";
import type { Evaluation } from "../../train/index.js";
import { percent, short } from "./text.js";

type Score = Pick<Evaluation, "loss" | "accuracy">;

/** Describes an evaluation. For text, the loss is in nats per token, and the accuracy is that of the next token. */
export function scoreInWords({ loss, accuracy = Number.NaN }: Score, unit: Task["unit"]): string {
  if (unit === "images") return `accuracy ${percent(accuracy)}, loss ${short(loss)}`;
  const right = `the next token right in ${percent(accuracy)}`;
  return `loss ${short(loss)} nats per token, perplexity ${short(perplexity(loss))}, ${right}`;
}

/** Returns the perplexity, e to the mean loss in nats per token. */
export function perplexity(loss: number): number {
  return Math.exp(loss);
}
