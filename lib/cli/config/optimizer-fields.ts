import { z } from "zod";
import {
  defaultOptimizer,
  type NamedOptimizer,
  type OptimizerName,
  optimizerNames,
  optimizersByName,
  takesMomentum,
} from "../../optim/by-name.js";
import { choiceField, type Fields, numberField } from "./fields.js";

/** The optimizers that take a momentum. */
export const withMomentum: readonly OptimizerName[] = optimizerNames.filter(takesMomentum);

/**
 * Describes the defaults of optimizers, with those that have the same default together.
 *
 * @param text describes one default. `names` are the optimizers that have it, as "adam and lion"
 */
function defaultsInWords(
  optimizers: readonly OptimizerName[],
  text: (facts: NamedOptimizer, names: string) => string,
): string {
  const groups = new Map<string, { readonly facts: NamedOptimizer; readonly names: readonly OptimizerName[] }>();
  for (const name of optimizers) {
    const facts = optimizersByName[name];
    const key = text(facts, "");
    groups.set(key, { facts, names: [...(groups.get(key)?.names ?? []), name] });
  }
  return [...groups.values()].map(({ facts, names }) => text(facts, names.join(" and "))).join("; ");
}

/** The default highest rates of a run, as `train --help` shows them. */
export const maxLrInWords = defaultsInWords(
  [defaultOptimizer, ...optimizerNames.filter((name) => name !== defaultOptimizer)],
  ({ maxLr: { images, text } }, names) => `${images} for ${names}${text === images ? "" : `, or ${text} for text`}`,
);

const optimizersWithDecay = optimizerNames.filter((name) => optimizersByName[name].weightDecay > 0);

/** The fields of a run that select its optimizer and set its options. */
export const optimizerFields = {
  optimizer: choiceField(optimizerNames, "update rule", { fallback: defaultOptimizer }),
  weightDecay: numberField(
    z.number().min(0),
    "a number of at least 0",
    "weight decay, not applied to norms and biases",
    {
      placeholder: "<x>",
      fallback: `${defaultsInWords(optimizersWithDecay, ({ weightDecay }, names) => `${weightDecay} for ${names}`)}, else 0`,
      aliases: ["wd"],
    },
  ),
  momentum: numberField(
    z.number().min(0).lt(1),
    "a number from 0 to below 1",
    `momentum of ${withMomentum.join(" and ")}`,
    {
      placeholder: "<x>",
      fallback: withMomentum.map((name) => optimizersByName[name].momentum).join(", "),
    },
  ),
} satisfies Fields;
