import { stat } from "node:fs/promises";
import type { Command } from "commander";
import { z } from "zod";
import { writeTorchWeights } from "../../weights/torch-weights.js";
import { addFlags, choiceField, type Fields, fromFlags, help } from "../config/fields.js";
import { UsageError } from "../failure.js";
import { print, printJson, tell } from "../output/terminal.js";
import { count, some } from "../output/text.js";
import { checkSaved, openSaved, type SavedModel, savedFields } from "../saved.js";

const formats = ["safetensors"] as const;

const fields = {
  ...savedFields,
  to: choiceField(formats, "format of the file"),
  out: z.string().min(1).register(help, {
    kind: "text",
    placeholder: "<file>",
    expected: "the path of a file",
    description: "file to write; an existing file is replaced",
    fallback: "model.<format>",
  }),
  precision: choiceField(["float32", "bf16"], "type of the weights", { fallback: "that of the training" }),
} satisfies Fields;

/** Adds the options and the action of `export`. */
export function defineExport(command: Command): void {
  addFlags(command, fields);
  command
    .option("--json", "print the result as one JSON object on the last line of standard output")
    .addHelpText(
      "after",
      `
The file has the weights without the optimizer's state, with PyTorch's names and order of axes. In Python,
model.load_state_dict(safetensors.torch.load_file("model.safetensors")) loads it.

Examples:
  stepsize export --checkpoint runs/1 --to safetensors
  stepsize export --checkpoint runs/1/checkpoints/step-450.safetensors --to safetensors --out weights.safetensors`,
    )
    .action(exportCommand);
}

async function exportCommand(flags: Record<string, unknown>): Promise<void> {
  const values = checkSaved(fields, fromFlags(fields, flags));
  const { to, out = `model.${to}`, precision } = values;
  if (to === undefined) throw new UsageError(`--to: expected one of ${formats.join(", ")}, got none`);
  const saved = await openSaved(values, { precision });
  try {
    await writeTorchWeights(saved.model, out, metadataOf(saved));
    const tensors = [...saved.model.stateDict().values()];
    const elements = tensors.reduce((sum, { size }) => sum + size, 0);
    const { size } = await stat(out);
    const write = flags["json"] ? tell : print;
    write(`${out}: ${some(tensors.length, "tensor")}, ${count(elements)} numbers, ${(size / 1e6).toFixed(1)} MB`);
    if (flags["json"]) printJson({ checkpoint: saved.path, step: saved.step, to, out, bytes: size });
  } finally {
    await saved.device.close();
  }
}

/** Returns what the model needs to be used, as texts of JSON by name. */
function metadataOf({ card, step }: SavedModel): Record<string, string> {
  const { config, preprocessing, classes, text } = card;
  const given = Object.entries({ config, preprocessing, classes, text, step }).filter(
    ([, value]) => value !== undefined,
  );
  return Object.fromEntries(given.map(([name, value]) => [name, JSON.stringify(value)]));
}
