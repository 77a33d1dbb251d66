import { existsSync } from "node:fs";
import { access } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { expectText } from "../arguments.js";
import { describe, StepsizeError } from "../errors.js";
import { packageRoot } from "../package-root.js";
import { shown } from "../quoting.js";
import { readJsonFile } from "../read-file.js";
import { messageOf } from "../realms.js";
import { anything, count, dictionary, flag, list, object, optional, Place, type Schema, text } from "../schema.js";
import type { Encoding } from "./tokenizer.js";

/** Specification of a tokenizer of Hugging Face's library `tokenizers`. */
export interface HuggingFaceTokenizer {
  readonly kind: "huggingface";
  /** The id after every document. */
  readonly endOfText: number;
  /** The contents of `tokenizer.json`. */
  readonly definition: Readonly<Record<string, unknown>>;
}

/** The part of a `tokenizer.json` that is read here. The package reads the rest. */
interface Definition {
  readonly model: {
    readonly type: "BPE";
    readonly vocab: Readonly<Record<string, number>>;
    readonly dropout?: null | undefined;
  };
  readonly decoder: { readonly type: "ByteLevel" };
  readonly added_tokens?: readonly AddedToken[] | undefined;
}

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
}

/** Accepts one value. Another value needs what is not supported, such as a decoder of another kind. */
function only<T extends string | null>(expected: T): Schema<T> {
  return (value, place) => {
    if (value === expected) return expected;
    throw new StepsizeError("unsupported", `${place}: expected ${JSON.stringify(expected)}, found ${describe(value)}`);
  };
}

const definitionSchema = object<Definition>({
  model: object<Definition["model"]>({
    type: only("BPE"),
    vocab: dictionary(count, "an object with the id of every token"),
    // With dropout, a text has different ids each time.
    dropout: optional(only(null)),
  }),
  decoder: object<Definition["decoder"]>({ type: only("ByteLevel") }),
  added_tokens: optional(
    list(object<AddedToken>({ id: count, content: text, special: flag }), { words: "a list of tokens" }),
  ),
});

/** The `tokenizer_config.json` beside a `tokenizer.json`. */
const configSchema = object<{ readonly eos_token?: string | { readonly content: string } | null | undefined }>({
  eos_token: optional((value, place) =>
    value === null || typeof value === "string" ? value : object({ content: text })(value, place),
  ),
});

/** The `config.json` of a model. */
const modelSchema = object<{ readonly eos_token_id?: number | null | undefined }>({
  eos_token_id: optional((value, place) =>
    value === null ? null : count(Array.isArray(value) ? value[0] : value, place),
  ),
});

const fileName = "tokenizer.json";

/**
 * Reads the tokenizer of a folder in the layout of Hugging Face's transformers.
 *
 * The folder has a `tokenizer.json`. Its end of text is the `eos_token` of `tokenizer_config.json`, or the
 * `eos_token_id` of `config.json`. The specification contains the whole definition of the tokenizer, so the folder is
 * not needed any more.
 *
 * @param folder path of the folder
 * @throws StepsizeError `not-found` if there is no `tokenizer.json`; `invalid-file` if a file is damaged or there is no
 * end of text; `unsupported` for other tokenizers than byte-level BPE
 *
 * @example
 * ```ts
 * import { data } from "stepsize";
 *
 * const tokenizer = data.tokenizerOf(await data.readTokenizer("OLMo-2-0425-1B"));
 * console.log(tokenizer.encode("Hello"));
 * ```
 */
export async function readTokenizer(folder: string): Promise<HuggingFaceTokenizer> {
  expectText("folder", folder, "the path of a folder");
  const path = join(folder, fileName);
  const definition = await readJsonFile(path, dictionary(anything, "a JSON object"));
  const ids = idsIn(definitionSchema(definition, new Place(path)));
  const [configPath, modelPath] = [join(folder, "tokenizer_config.json"), join(folder, "config.json")];
  const { eos_token: end } = (await exists(configPath)) ? await readJsonFile(configPath, configSchema) : {};
  if (end !== undefined && end !== null) {
    const content = typeof end === "string" ? end : end.content;
    const id = ids.get(content);
    if (id !== undefined) return { kind: "huggingface", endOfText: id, definition };
    throw new StepsizeError(
      "invalid-file",
      `${configPath}: eos_token: expected a token of ${fileName}, found ${shown(content)}`,
    );
  }
  const { eos_token_id: id } = (await exists(modelPath)) ? await readJsonFile(modelPath, modelSchema) : {};
  if (id !== undefined && id !== null) return { kind: "huggingface", endOfText: id, definition };
  throw new StepsizeError(
    "invalid-file",
    `${folder}: expected the end of text as eos_token in tokenizer_config.json or as eos_token_id in config.json, found neither`,
  );
}

/** Whether a folder has a tokenizer that {@link readTokenizer} reads. */
export function hasTokenizer(folder: string): Promise<boolean> {
  return exists(join(folder, fileName));
}

/**
 * Creates a tokenizer of Hugging Face's library from its definition.
 *
 * @throws StepsizeError `invalid-file` or `unsupported`, naming the wrong part of the definition
 */
export function huggingFaceEncoding({ endOfText, definition }: HuggingFaceTokenizer): Encoding {
  const known = definitionSchema(definition, new Place(fileName));
  const ids = idsIn(known);
  const vocabulary = [...ids.values()].reduce((max, id) => Math.max(max, id), 0) + 1;
  if (endOfText >= vocabulary)
    throw new StepsizeError(
      "invalid-file",
      `${fileName}: expected an end of text below ${vocabulary}, found ${endOfText}`,
    );
  // The package leaves out a byte that has no token.
  const missing = [...byteOf.keys()].find((character) => !Object.hasOwn(known.model.vocab, character));
  if (missing !== undefined)
    throw new StepsizeError(
      "unsupported",
      `${fileName}: model.vocab: expected a token for every byte, ${missing} is missing`,
    );
  const tokens = new Map([...ids].map(([token, id]) => [id, token]));
  const added = new Map((known.added_tokens ?? []).map(({ id, content }) => [id, content]));
  // Without the special tokens, their names in a text are ordinary text.
  const ordinary = (known.added_tokens ?? []).filter(({ special, id }) => !special && id !== endOfText);
  const encoder = makeEncoder({
    post_processor: null,
    normalizer: null,
    pre_tokenizer: null,
    ...definition,
    added_tokens: ordinary,
  });
  return {
    vocabulary,
    endOfText,
    encode(text) {
      const { ids } = encoder.encode(text, { add_special_tokens: false });
      return Int32Array.from(ids);
    },
    bytesOf(id) {
      const content = added.get(id);
      if (content !== undefined) return Buffer.from(content);
      const token = tokens.get(id);
      return token === undefined ? undefined : bytesOfToken(token);
    },
  };
}

/** The part of the package's `Tokenizer` that is used. */
type Encoder = Pick<InstanceType<typeof import("@huggingface/tokenizers").Tokenizer>, "encode">;

function makeEncoder(definition: object): Encoder {
  const { Tokenizer } = loadPackage();
  try {
    return new Tokenizer(definition, {});
  } catch (cause) {
    throw new StepsizeError("unsupported", `${fileName}: ${messageOf(cause)}`, { cause });
  }
}

/**
 * Loads the package. It is loaded only if it is needed, and without waiting, because `tokenizerOf` does not wait. The
 * published package has a copy of it, so that users need not install it.
 */
function loadPackage(): typeof import("@huggingface/tokenizers") {
  const copy = join(packageRoot, "dist", "vendor", "huggingface-tokenizers.cjs");
  return createRequire(import.meta.url)(existsSync(copy) ? copy : "@huggingface/tokenizers");
}

/** Returns the ids of all tokens. */
function idsIn({ model, added_tokens: added = [] }: Definition): ReadonlyMap<string, number> {
  return new Map([...Object.entries(model.vocab), ...added.map(({ content, id }) => [content, id] as const)]);
}

/** Converts a token to bytes. A byte-level token has one character per byte. */
function bytesOfToken(token: string): Uint8Array {
  const bytes = Array.from(token, (character) => byteOf.get(character));
  // A token with other characters was not made from bytes.
  return bytes.includes(undefined) ? Buffer.from(token) : Uint8Array.from(bytes, (byte) => byte ?? 0);
}

/** The byte of each character in byte-level tokens. Bytes that are not printable have the characters from 256 on. */
const byteOf: ReadonlyMap<string, number> = (() => {
  const isPrintable = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  const others = bytes.filter((byte) => !isPrintable(byte));
  return new Map(
    bytes.map((byte) => [String.fromCodePoint(isPrintable(byte) ? byte : 256 + others.indexOf(byte)), byte]),
  );
})();

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
