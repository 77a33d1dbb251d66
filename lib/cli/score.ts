import type { Task } from "../tasks/index.js";
import type { Evaluation } from "../train/index.js";
import { percent, short } from "./text.js";

type Score = Pick<Evaluation, "loss" | "accuracy">;

/** An evaluation in words. Of text the loss is in nats per token, and the accuracy that of the next token. */
export function scoreInWords({ loss, accuracy = Number.NaN }: Score, unit: Task["unit"]): string {
  if (unit === "images") return `accuracy ${percent(accuracy)}, loss ${short(loss)}`;
  const right = `the next token right in ${percent(accuracy)}`;
  return `loss ${short(loss)} nats per token, perplexity ${short(perplexity(loss))}, ${right}`;
}

/** e to the mean loss: among how many equally likely tokens the model is as unsure as it is. */
export function perplexity(loss: number): number {
  return Math.exp(loss);
}
