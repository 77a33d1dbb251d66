import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { expectText } from "../arguments.js";
import type { TokenizerSpec } from "../data/index.js";
import { hasTokenizer, readTokenizer } from "../data/tokenizer-json.js";
import { describe, StepsizeError } from "../errors.js";
import { openStored, type StoredFile, type StoredTensor } from "../files/safetensors-file.js";
import { olmoOptionsOf } from "../models/hugging-face.js";
import { type ModelConfig, type Olmo, olmo } from "../models/index.js";
import { type Device, expectDevice } from "../native/index.js";
import { type Module, type Precision, Preparation } from "../nn/index.js";
import { checkedOptions, optionNames } from "../options.js";
import { printable, shown } from "../quoting.js";
import { readJsonFile } from "../read-file.js";
import { anything, dictionary } from "../schema.js";
import type { ModelCard } from "./checkpoint-info.js";
import type { LoadedModel } from "./load-model.js";
import { inFile } from "./stored-tensors.js";
import { fillFromTorch } from "./torch-weights.js";

/** A decoder that was loaded from a Hugging Face folder. `generate` takes it as it is. */
export interface HuggingFaceModel extends Pick<LoadedModel, "prepare" | "card"> {
  /** The model with its weights. */
  readonly model: Olmo;
  /** Configuration of the model for `models.create`. */
  readonly config: OlmoConfig;
  /**
   * The configuration, and the tokenizer if the folder has one. Pass it to a trainer, so that checkpoints contain it. The
   * context is the largest one of the model.
   */
  readonly card: ModelCard;
}

type OlmoConfig = ModelConfig & { readonly kind: "olmo" };

/** Options of {@link loadHuggingFace}. */
export interface HuggingFaceOptions {
  /** Device for the model. */
  readonly device: Device;
  /** Storage precision of weights and activations. Default `"float32"`. */
  readonly precision?: Precision | undefined;
}

const names = optionNames<HuggingFaceOptions>({ device: true, precision: true });

/** Name of the output matrix, which a model with a tied embedding does not have. */
const headName = "lm_head.weight";

const single = "model.safetensors";
const index = "model.safetensors.index.json";

/**
 * Loads a decoder from a folder in the layout of Hugging Face's transformers.
 *
 * The folder has a `config.json` of model type `olmo` or `olmo2`, and `model.safetensors` or its shards with
 * `model.safetensors.index.json`. Weights of float32, float16, bfloat16 and float64 are converted to the model's
 * precision. The tokenizer is that of `tokenizer.json`, if there is one; see `data.readTokenizer`.
 *
 * @param folder path of the folder
 * @throws StepsizeError `invalid-argument` for an invalid path or option; `not-found` if a file is missing;
 * `unsupported` if config.json requires something that the model does not support; `invalid-file` if a file is damaged,
 * or listing weights that are missing, left over, or of another shape or type; `out-of-memory`
 *
 * @example
 * ```ts
 * import { loadHuggingFace, openDevice } from "stepsize";
 *
 * const device = await openDevice("auto");
 * const { model, config } = await loadHuggingFace("OLMo-2-0425-1B", { device, precision: "bf16" });
 * ```
 */
export async function loadHuggingFace(folder: string, options: HuggingFaceOptions): Promise<HuggingFaceModel> {
  const { device, precision = "float32" } = checkedOptions("loadHuggingFace", names, options);
  expectText("folder", folder, "the path of a folder");
  expectDevice("device", device);
  const { config, tokenizer } = await readHuggingFace(folder);
  const { kind: _, ...shape } = config;
  const model = olmo({ ...shape, device }).setPrecision(precision);
  try {
    await fillFromHuggingFace(model, folder);
  } catch (error) {
    model.dispose();
    throw error;
  }
  const preparation = new Preparation(model);
  const text = tokenizer && { tokenizer, context: config.context };
  return { model, config, card: { config, text }, prepare: (ids) => preparation.apply(ids) };
}

/** @internal A Hugging Face folder without its weights. */
export interface HuggingFaceFolder {
  readonly config: OlmoConfig;
  /** The tokenizer; `undefined` if the folder has none. */
  readonly tokenizer: TokenizerSpec | undefined;
}

/** @internal Reads the configuration and the tokenizer of a folder. Throws as {@link loadHuggingFace}. */
export async function readHuggingFace(folder: string): Promise<HuggingFaceFolder> {
  const json = await readJson(join(folder, "config.json"));
  const shape = await inFile(folder, () => olmoOptionsOf(json));
  const tokenizer = (await hasTokenizer(folder)) ? await readTokenizer(folder) : undefined;
  const { vocabulary } = shape;
  if (tokenizer !== undefined && tokenizer.endOfText >= vocabulary)
    throw new StepsizeError(
      "invalid-file",
      `${folder}: expected an end of text below the vocab_size ${vocabulary} of config.json, found ${tokenizer.endOfText}`,
    );
  return { config: { kind: "olmo", ...shape }, tokenizer };
}

/** @internal Replaces the weights of a model by those of a folder. Throws as {@link loadHuggingFace}. */
export async function fillFromHuggingFace(model: Module, folder: string): Promise<void> {
  const isTied = ![...model.torchNames().names.values()].includes(headName);
  const files: StoredFile[] = [];
  try {
    const stored = await openWeights(folder, files);
    await fillFromTorch(model, folder, isTied ? await withoutTiedHead(folder, stored) : stored);
  } finally {
    for (const file of files) await file.close();
  }
}

/**
 * Opens the weights of a folder.
 *
 * @param files receives the opened files, also if an error is thrown
 */
async function openWeights(folder: string, files: StoredFile[]): Promise<ReadonlyMap<string, StoredTensor>> {
  const open = async (name: string) => {
    const file = await openStored(join(folder, name));
    files.push(file);
    return file.tensors;
  };
  const names = await readdir(folder);
  if (names.includes(single)) return await open(single);
  if (!names.includes(index)) {
    const pickles = names.some((name) => name.endsWith(".bin"));
    const advice = pickles ? "; it has files of torch.save, which save_pretrained writes anew as safetensors" : "";
    throw new StepsizeError("not-found", `${folder}: there is no ${single} and no ${index}${advice}`);
  }
  return await openShards(folder, await readJson(join(folder, index)), open);
}

/** Opens all shards and checks that each has exactly the tensors that the index lists for it. */
async function openShards(
  folder: string,
  { weight_map: map }: Readonly<Record<string, unknown>>,
  open: (name: string) => Promise<ReadonlyMap<string, StoredTensor>>,
) {
  const fail: (problem: string) => never = (problem) => {
    throw new StepsizeError("invalid-file", `${join(folder, index)}: ${problem}`);
  };
  if (!isObject(map)) return fail("expected weight_map with the file of every tensor");
  const namesOf = new Map<string, string[]>();
  for (const [name, file] of Object.entries(map)) {
    if (!isFileName(file)) fail(`${shown(name)}: expected the name of a file beside it, found ${describe(file)}`);
    const names = namesOf.get(file) ?? [];
    names.push(name);
    namesOf.set(file, names);
  }
  const all = new Map<string, StoredTensor>();
  for (const [file, names] of namesOf) {
    const tensors = await open(file);
    const missing = names.find((name) => !tensors.has(name));
    if (missing !== undefined) fail(`${shown(missing)} is not in ${shown(file)}`);
    const extra = [...tensors.keys()].find((name) => map[name] !== file);
    if (extra !== undefined) fail(`${shown(extra)} of ${shown(file)} is not in the weight_map`);
    for (const [name, tensor] of tensors) all.set(name, tensor);
  }
  return all;
}

/** Removes the output matrix, which some files contain although it equals the embedding. Throws if it differs. */
async function withoutTiedHead(
  folder: string,
  stored: ReadonlyMap<string, StoredTensor>,
): Promise<ReadonlyMap<string, StoredTensor>> {
  const head = stored.get(headName);
  if (head === undefined) return stored;
  const embedding = stored.get("model.embed_tokens.weight");
  if (!embedding || !(await haveSameBytes(head, embedding)))
    throw new StepsizeError(
      "invalid-file",
      `${folder}: ${headName} is not model.embed_tokens.weight, although config.json has tie_word_embeddings`,
    );
  return new Map([...stored].filter(([name]) => name !== head.name));
}

async function haveSameBytes(first: StoredTensor, second: StoredTensor): Promise<boolean> {
  if (first.bytes !== second.bytes) return false;
  const blocks = second.blocks();
  try {
    for await (const block of first.blocks()) {
      const { value } = await blocks.next();
      if (value === undefined || !Buffer.from(block.buffer, block.byteOffset, block.byteLength).equals(value))
        return false;
    }
    return true;
  } finally {
    await blocks.return();
  }
}

async function readJson(path: string): Promise<Readonly<Record<string, unknown>>> {
  return await readJsonFile(path, dictionary(anything, "a JSON object"));
}

/** Whether a value is a file name that can be shown in an error message as it is. */
function isFileName(value: unknown): value is string {
  return typeof value === "string" && basename(value) === value && value.length <= 255 && printable(value) === value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
