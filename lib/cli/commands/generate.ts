import type { Command } from "commander";
import { z } from "zod";
import { tokenizerOf } from "../../data/index.js";
import { printableLines } from "../../quoting.js";
import { continueText, generateDefaults as defaults } from "../../text/index.js";
import { addFlags, addJson, type Fields, fromFlags, help, numberField } from "../config/fields.js";
import { Interrupts } from "../interrupts.js";
import { printJson, tell } from "../output/terminal.js";
import { count, duration, some } from "../output/text.js";
import { asTextModel, checkSaved, openSaved, pretrainedField, savedFields, withRun } from "../saved.js";

const whole = "a whole number of at least 1";

const fields = {
  ...savedFields,
  model: pretrainedField,
  prompt: z.string().register(help, {
    kind: "text",
    placeholder: "<text>",
    expected: "text",
    description: "beginning of the text",
    fallback: "none; the model starts a new document",
  }),
  tokens: numberField(z.int().min(1), whole, "largest number of tokens to generate", {
    fallback: `${defaults.tokens}`,
  }),
  temperature: numberField(
    z.number().min(0),
    "a number of at least 0",
    "sampling temperature; lower is less varied, 0 always takes the most likely token",
    { placeholder: "<x>", fallback: `${defaults.temperature}` },
  ),
  topK: numberField(z.int().min(1), whole, "number of the most likely tokens to draw from", {
    fallback: `${defaults.topK}`,
  }),
  seed: numberField(z.int().min(0), "a whole number of at least 0", "seed of the random numbers", {
    fallback: `${defaults.seed}`,
  }),
} satisfies Fields;

/** Adds the options and the action of `generate`. */
export function defineGenerate(command: Command): void {
  addFlags(command, fields);
  addJson(command)
    .addHelpText(
      "after",
      `
The command prints the prompt (faint on a terminal) and then each piece of text
as it is generated. It stops when the model ends the document, or after --tokens
tokens. The model sees only the last tokens, up to the context length that it
was trained with. Every token costs a forward pass over this context.

Examples:
  stepsize generate runs/1 --prompt "My fellow citizens"
  stepsize generate runs/1 --tokens 50 --temperature 0
  stepsize generate runs/1 --seed 7 > text.txt
  stepsize generate --model hf:path/to/OLMo-2-0425-1B \\
    --prompt "The capital of France is"`,
    )
    .action(generate);
}

async function generate(run: string | undefined, flags: Record<string, unknown>): Promise<void> {
  const values = checkSaved(fields, fromFlags(fields, withRun(run, flags)));
  const {
    prompt = defaults.prompt,
    tokens = defaults.tokens,
    temperature = defaults.temperature,
    topK = defaults.topK,
    seed = defaults.seed,
  } = values;
  const saved = await openSaved(values);
  const interrupts = new Interrupts();
  try {
    const model = asTextModel(saved);
    const tokenizer = tokenizerOf(model.tokenizer);
    const { signal } = interrupts;
    const { ids, given } = continueText(model, tokenizer, { prompt, tokens, temperature, topK, seed, signal });
    if (given > model.context)
      tell(`the prompt has ${some(given - 1, "token")}; the model sees only the last ${model.context}`);
    const { json = false } = flags;
    let text = "";
    const write = (piece: string) => {
      text += piece;
      if (!json) process.stdout.write(onTerminal(piece));
    };
    if (!json) process.stdout.write(faint(onTerminal(prompt)));
    const decoder = tokenizer.decoder();
    const start = performance.now();
    let generated = 0;
    for await (const id of ids) {
      write(decoder.add(id));
      generated += 1;
    }
    write(decoder.end());
    if (json) printJson({ checkpoint: saved.path, prompt, text, tokens: generated, seed });
    else process.stdout.write("\n");
    interrupts.check(`interrupted after ${some(generated, "token")}`);
    const seconds = (performance.now() - start) / 1000;
    const end = generated < tokens ? ", the end of the document" : "";
    tell(
      `${some(generated, "token")} in ${duration(seconds)}, ${count(Math.round(generated / seconds))} tokens/s${end}`,
    );
  } finally {
    interrupts.close();
    await saved.device.close();
  }
}

/** Escapes control characters if standard output is a terminal. A file or another program gets the text unchanged. */
function onTerminal(text: string): string {
  return process.stdout.isTTY ? printableLines(text) : text;
}

/** Makes text faint on a terminal, unless `NO_COLOR` is set. */
function faint(text: string): string {
  const plain = !process.stdout.isTTY || text === "" || Boolean(process.env["NO_COLOR"]);
  return plain ? text : `\x1b[2m${text}\x1b[22m`;
}
