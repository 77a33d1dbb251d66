import { describe, StepsizeError } from "../errors.js";
import { shown } from "../quoting.js";
import { isPlainObject } from "../realms.js";
import type { OlmoOptions } from "./olmo.js";

type Fields = Readonly<Record<string, unknown>>;

/** Fields of a config.json that have no effect here: metadata, sampling, and initialization of weights. */
const harmless = new Set([
  "_attn_implementation_autoset",
  "_commit_hash",
  "_name_or_path",
  "architectures",
  "attn_implementation",
  "bos_token_id",
  "dtype",
  "eos_token_id",
  "initializer_range",
  "pad_token_id",
  "torch_dtype",
  "transformers_version",
  "unk_token_id",
  "use_cache",
]);

/**
 * Returns the options of `olmo` for a config.json of Hugging Face's transformers, of model type `olmo` or `olmo2`.
 *
 * @throws StepsizeError `unsupported` for another model type, a field with an unsupported value, or an unknown field,
 * which might change results; `invalid-file` for a field of another type
 */
export function olmoOptionsOf(config: Fields): OlmoOptions {
  const type = config["model_type"];
  if (type !== "olmo" && type !== "olmo2") refuse("model_type", '"olmo" or "olmo2"', type);
  const second = type === "olmo2";
  const read = new Reader(config);
  const width = read.whole("hidden_size");
  const heads = read.whole("num_attention_heads");
  const options: OlmoOptions = {
    vocabulary: read.whole("vocab_size"),
    context: read.whole("max_position_embeddings", 2048),
    width,
    layers: read.whole("num_hidden_layers"),
    heads,
    keyValueHeads: read.whole("num_key_value_heads", heads),
    hidden: read.whole("intermediate_size"),
    norm: second ? "rmsnorm" : "layernorm",
    normalize: second ? "outputs" : "inputs",
    // OLMo's LayerNorm has this epsilon, and the file does not contain it.
    normEpsilon: second ? read.number("rms_norm_eps", 1e-5) : 1e-5,
    tied: read.boolean("tie_word_embeddings", false),
    ropeBase: read.ropeBase(),
    ...(second ? {} : read.clip()),
  };
  read.expect("hidden_act", "silu");
  read.expect("attention_bias", false);
  read.expect("attention_dropout", 0);
  read.expect("head_dim", width / heads);
  read.expectNothingElse();
  return options;
}

/** Reads fields of a configuration and remembers their names. */
class Reader {
  readonly #config: Fields;
  readonly #known = new Set(["model_type"]);

  constructor(config: Fields) {
    this.#config = config;
  }

  /** Returns the value of a field; `undefined` if it is absent or null. */
  #value(name: string): unknown {
    this.#known.add(name);
    return this.#config[name] ?? undefined;
  }

  /** Returns a field that is a number above 0. */
  number(name: string, fallback?: number): number {
    const value = this.#value(name) ?? fallback;
    if (typeof value !== "number" || !(value > 0)) invalid(name, "a number above 0", value);
    return value;
  }

  /** Returns a field that is a whole number above 0. */
  whole(name: string, fallback?: number): number {
    const value = this.number(name, fallback);
    if (!Number.isSafeInteger(value)) invalid(name, "a whole number", value);
    return value;
  }

  /** Returns a field that is true or false. */
  boolean(name: string, fallback: boolean): boolean {
    const value = this.#value(name) ?? fallback;
    if (typeof value !== "boolean") invalid(name, "true or false", value);
    return value;
  }

  /** Returns the limit of queries, keys and values, if there is one. */
  clip(): { clip?: number } {
    return this.#value("clip_qkv") === undefined ? {} : { clip: this.number("clip_qkv") };
  }

  /** Returns the base of the rotary embedding, from `rope_theta`, or from `rope_parameters` in newer versions. */
  ropeBase(): number {
    this.expect("rope_scaling", undefined);
    const parameters = this.#value("rope_parameters") ?? {};
    if (!isPlainObject(parameters)) return invalid("rope_parameters", "an object", parameters);
    const { rope_type: type = "default", rope_theta: theta, ...rest } = parameters;
    if (type !== "default") refuse("rope_parameters.rope_type", '"default"', type);
    for (const [name, value] of Object.entries(rest)) refuse(`rope_parameters.${shown(name)}`, "no such field", value);
    if (theta === undefined) return this.number("rope_theta", 1e4);
    if (typeof theta !== "number" || !(theta > 0)) invalid("rope_parameters.rope_theta", "a number above 0", theta);
    return theta;
  }

  /** Throws `unsupported` if a field has another value than expected. A field that is absent or null is accepted. */
  expect(name: string, expected: unknown): void {
    const value = this.#value(name);
    if (value !== undefined && value !== expected) refuse(name, describe(expected ?? null), value);
  }

  /** Throws `unsupported` if there is a field that was not read and might change results. */
  expectNothingElse(): void {
    for (const [name, value] of Object.entries(this.#config))
      if (value !== null && !this.#known.has(name) && !harmless.has(name))
        refuse(shown(name), "no such field, as it might change results; remove it if it does not", value);
  }
}

function refuse(name: string, expected: string, got: unknown): never {
  throw new StepsizeError("unsupported", `config.json: ${name}: expected ${expected}, got ${describe(got)}`);
}

function invalid(name: string, expected: string, got: unknown): never {
  throw new StepsizeError("invalid-file", `config.json: ${name}: expected ${expected}, got ${describe(got)}`);
}
