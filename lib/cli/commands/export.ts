import { stat } from "node:fs/promises";
import type { Command } from "commander";
import { z } from "zod";
import { inputsOf as inputsOfTable } from "../../data/table-encoder.js";
import { StepsizeError } from "../../errors.js";
import { exportOnnx, type OnnxOptions } from "../../onnx/index.js";
import { writeTorchWeights } from "../../weights/torch-weights.js";
import { addFlags, addJson, choiceField, type Fields, fromFlags, help, switchField } from "../config/fields.js";
import { UsageError } from "../failure.js";
import { print, printJson, tell } from "../output/terminal.js";
import { bytes, count, some } from "../output/text.js";
import { checkSaved, openSaved, pretrainedField, type SavedModel, savedFields, withRun } from "../saved.js";

const formats = ["safetensors", "onnx"] as const;

const fields = {
  ...savedFields,
  model: pretrainedField,
  to: choiceField(formats, "format of the file"),
  out: z.string().min(1).register(help, {
    kind: "text",
    placeholder: "<file>",
    expected: "the path of a file",
    description: "file to write; an existing file is replaced",
    fallback: "model.<format>",
  }),
  precision: choiceField(["float32", "bf16"], "type of the weights in a safetensors file", {
    fallback: "that of the training",
  }),
  withPreprocessing: switchField("include the preprocessing in an ONNX file, so that its inputs are raw bytes"),
} satisfies Fields;

/** Adds the options and the action of `export`. */
export function defineExport(command: Command): void {
  addFlags(command, fields);
  addJson(command)
    .addHelpText(
      "after",
      `
A safetensors file has the weights without the optimizer's state, with PyTorch's
names and order of axes. In Python,
model.load_state_dict(safetensors.torch.load_file("model.safetensors")) loads
it.

An ONNX file has the whole model in float32, with operators of version 17, for
any number of items. Its input is called input: images [batch, height, width,
channels], or ids [batch, context] of type int32. Its output is called output.

Examples:
  stepsize export runs/1 --to safetensors
  stepsize export runs/1 --to onnx --with-preprocessing
  stepsize export runs/1/checkpoints/step-450.safetensors \\
    --to safetensors --out weights.safetensors`,
    )
    .action(exportCommand);
}

async function exportCommand(run: string | undefined, flags: Record<string, unknown>): Promise<void> {
  const values = checkSaved(fields, fromFlags(fields, withRun(run, flags)));
  const { to, out = `model.${to}`, precision, withPreprocessing = false } = values;
  if (to === undefined) throw new UsageError(`--to: expected one of ${formats.join(", ")}, got none`);
  if (to === "onnx" && precision !== undefined)
    throw new UsageError(`--precision: expected none with --to onnx, whose numbers are float32, got ${precision}`);
  if (to !== "onnx" && withPreprocessing)
    throw new UsageError(`--with-preprocessing: expected only with --to onnx, got --to ${to}`);
  const saved = await openSaved(values, { precision, inCode });
  try {
    const metadata = metadataOf(saved);
    if (to === "onnx") await exportOnnx(saved.model, out, { ...inputsOf(saved, withPreprocessing), metadata });
    else await writeTorchWeights(saved.model, out, metadata);
    const tensors = [...saved.model.stateDict().values()];
    const elements = tensors.reduce((sum, { size }) => sum + size, 0);
    const { size } = await stat(out);
    const write = flags["json"] ? tell : print;
    write(`${out}: ${some(tensors.length, "tensor")}, ${count(elements)} numbers, ${bytes(size)}`);
    if (flags["json"]) printJson({ checkpoint: saved.path, step: saved.step, to, out, bytes: size });
  } finally {
    await saved.device.close();
  }
}

/** How to export a model of the caller's own code. */
const inCode = "saveTorchWeights(model, path) or exportOnnx(model, path, options)";

/** Returns the inputs of a model in an ONNX file. */
function inputsOf({ path, card }: SavedModel, withPreprocessing: boolean): OnnxOptions {
  const { preprocessing, text, table } = card;
  if ((text || table) && withPreprocessing)
    throw new UsageError(
      `--with-preprocessing: expected only for images, got the model ${path} of ${text ? "text" : "a table"}`,
    );
  if (text) return { shape: [text.context], dtype: "int32" };
  if (table) return { shape: [inputsOfTable(table)] };
  if (preprocessing) return withPreprocessing ? { preprocessing } : { shape: preprocessing.shape };
  throw new StepsizeError(
    "invalid-file",
    `${path}: expected the shape of the inputs, found none; call exportOnnx(model, path, { shape }) in code`,
  );
}

/** Returns what the model needs to be used, as texts of JSON by name. */
function metadataOf({ card, step }: SavedModel): Record<string, string> {
  const { config, preprocessing, classes, fit, text, table } = card;
  const given = Object.entries({ config, preprocessing, classes, fit, text, table, step }).filter(
    ([, value]) => value !== undefined,
  );
  return Object.fromEntries(given.map(([name, value]) => [name, JSON.stringify(value)]));
}
