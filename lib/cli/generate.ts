import type { Command } from "commander";
import { z } from "zod";
import { tokenizerOf } from "../data/index.js";
import { printableLines } from "../quoting.js";
import { addFlags, type Fields, fromFlags, help, numberField } from "./fields.js";
import { sampler } from "./generate-sampler.js";
import { generateTokens } from "./generate-tokens.js";
import { Interrupts } from "./interrupts.js";
import { asTextModel, checkSaved, openSaved, savedFields } from "./saved.js";
import { tell } from "./terminal.js";
import { count, duration, some } from "./text.js";

const whole = "a whole number of at least 1";

const fields: Fields = {
  ...savedFields,
  prompt: z.string().register(help, {
    kind: "text",
    placeholder: "<text>",
    expected: "text",
    description: "the beginning of a document, to be continued",
    fallback: "none: a document from its beginning",
  }),
  tokens: numberField(z.int().min(1), whole, "how many tokens at most", { fallback: "200" }),
  temperature: numberField(
    z.number().min(0),
    "a number of at least 0",
    "above 1 more varied, below less; 0 always takes the likeliest token",
    { placeholder: "<x>", fallback: "0.8" },
  ),
  topK: numberField(z.int().min(1), whole, "draw only from so many of the likeliest tokens", { fallback: "40" }),
  seed: numberField(z.int().min(0), "a whole number of at least 0", "seed of what is drawn", { fallback: "0" }),
};

interface GenerateValues {
  readonly prompt?: string;
  readonly tokens?: number;
  readonly temperature?: number;
  readonly topK?: number;
  readonly seed?: number;
}

/** Adds the options and the action of `generate`. */
export function defineGenerate(command: Command): void {
  addFlags(command, fields);
  command
    .addHelpText(
      "after",
      `
Text appears on standard output as it is made, the prompt before it (faintly on a terminal). It ends where the model
ends the document, or after --tokens. The model sees the last tokens only, as many as it was trained with. Every token
costs a forward pass over all of these.

Examples:
  stepsize generate --checkpoint runs/1 --prompt "My fellow citizens"
  stepsize generate --checkpoint runs/1 --tokens 50 --temperature 0
  stepsize generate --checkpoint runs/1 --seed 7 > text.txt`,
    )
    .action(generate);
}

async function generate(flags: Record<string, unknown>): Promise<void> {
  const values = checkSaved(fields, fromFlags(fields, flags));
  const { prompt = "", tokens = 200, temperature = 0.8, topK = 40, seed = 0 } = values as GenerateValues;
  const saved = await openSaved(values);
  const interrupts = new Interrupts();
  try {
    const model = asTextModel(saved);
    const tokenizer = tokenizerOf(model.tokenizer);
    const { endOfText, vocabulary } = tokenizer;
    // In the corpus, too, a document begins after the end of the one before.
    const given = [endOfText, ...tokenizer.encode(prompt)];
    if (given.length > model.context)
      note(`the prompt has ${some(given.length - 1, "token")}, of which the model sees the last ${model.context}`);
    process.stdout.write(faint(onTerminal(prompt)));
    const decoder = tokenizer.decoder();
    const sample = sampler({ temperature, topK, seed });
    const start = performance.now();
    let made = 0;
    const { signal } = interrupts;
    for await (const id of generateTokens({ model, prompt: given, tokens, endOfText, vocabulary, sample, signal })) {
      process.stdout.write(onTerminal(decoder.add(id)));
      made += 1;
    }
    process.stdout.write(`${onTerminal(decoder.end())}\n`);
    interrupts.check(`interrupted after ${some(made, "token")}`);
    const seconds = (performance.now() - start) / 1000;
    const end = made < tokens ? ", the end of the document" : "";
    note(`${some(made, "token")} in ${duration(seconds)}, ${count(Math.round(made / seconds))} tokens/s${end}`);
  } finally {
    interrupts.close();
    await saved.device.close();
  }
}

/** Text as a terminal may show it; what goes into a file or to another program stays as it is. */
function onTerminal(text: string): string {
  return process.stdout.isTTY ? printableLines(text) : text;
}

/** Faint on a terminal that is not told to be plain. */
function faint(text: string): string {
  const plain = !process.stdout.isTTY || text === "" || Boolean(process.env["NO_COLOR"]);
  return plain ? text : `\x1b[2m${text}\x1b[22m`;
}

function note(text: string): void {
  tell(text);
}
