import { shown } from "../../quoting.js";
import { count, percent, table } from "../output/text.js";

/** Evaluation of the items of one class. */
export interface ClassResult {
  readonly name: string;
  readonly items: number;
  readonly correct: number;
  /** How often the model predicted this class, correctly or not. */
  readonly predicted: number;
  /** The wrong class that was predicted most often for these items; `null` if none was. */
  readonly mistakenFor: string | null;
}

/**
 * Returns the results of all classes.
 * @param confusion number of items, at [truth · classes + prediction]
 */
export function classResults(names: readonly string[], confusion: Uint32Array): ClassResult[] {
  const cell = (truth: number, guess: number) => confusion[truth * names.length + guess] ?? 0;
  return names.map((name, index) => {
    const guesses = names.map((_, guess) => cell(index, guess));
    const wrong = guesses.map((times, guess) => (guess === index ? 0 : times));
    const highest = wrong.reduce((max, times) => Math.max(max, times), 0);
    return {
      name,
      items: guesses.reduce((sum, times) => sum + times, 0),
      correct: cell(index, index),
      predicted: names.reduce((sum, _, truth) => sum + cell(truth, index), 0),
      mistakenFor: highest > 0 ? (names[wrong.indexOf(highest)] ?? null) : null,
    };
  });
}

/** Formats the results of classes as a table. */
export function classTable(classes: readonly ClassResult[]): string {
  const share = (part: number, whole: number) => (whole === 0 ? "–" : percent(part / whole));
  const rows = classes.map(({ name, items, correct, predicted, mistakenFor }) => [
    shown(name),
    count(items),
    share(correct, items),
    share(correct, predicted),
    shown(mistakenFor ?? ""),
  ]);
  return table([["class", "items", "recall", "precision", "mostly mistaken for"], ...rows], [1, 2, 3]);
}
