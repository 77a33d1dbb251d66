import { invalidArgument } from "../errors.js";
import { Embedding, LayerNorm, Linear, Module, RMSNorm, Seeds } from "../nn/index.js";
import { checkedOptions, givenOptions, optionNames, type Resolved } from "../options.js";
import {
  add,
  affine,
  cast,
  causalAttention,
  linear,
  relu,
  rotary,
  subtract,
  swiglu,
  type Tensor,
  tensor,
} from "../tensor/index.js";
import { maxLayers, type Place, type PlaceOptions, placeNames } from "./place.js";

/** Options of {@link olmo}. */
export interface OlmoOptions {
  /** Number of distinct tokens. */
  readonly vocabulary: number;
  /** Number of tokens in a training window. The model accepts any length. */
  readonly context: number;
  /** Size of the vector of each position. */
  readonly width: number;
  /** Number of blocks. */
  readonly layers: number;
  /** Number of attention heads. `width / heads` must be an even number of at most 256. */
  readonly heads: number;
  /** Number of heads of keys and values, a divisor of `heads`. Default: `heads`. */
  readonly keyValueHeads?: number | undefined;
  /** Size of the hidden layer of the feed-forward part. */
  readonly hidden: number;
  /**
   * Kind of the norms. Default `"layernorm"`.
   *
   * - `"layernorm"`: LayerNorm without parameters, as in OLMo.
   * - `"rmsnorm"`: RMSNorm with trained factors, also on queries and keys over all heads together, as in OLMo 2.
   */
  readonly norm?: "layernorm" | "rmsnorm" | undefined;
  /**
   * Place of the norms of attention and feed-forward. Default `"inputs"`.
   *
   * - `"inputs"`: x + part(norm(x)), as in OLMo.
   * - `"outputs"`: x + norm(part(x)), as in OLMo 2.
   */
  readonly normalize?: "inputs" | "outputs" | undefined;
  /** Number that is added to the variance in all norms, above 0. Default 1e-5. */
  readonly normEpsilon?: number | undefined;
  /** Whether the embedding is also the matrix of the output layer. Default true. */
  readonly tied?: boolean | undefined;
  /** Base of the rotary embedding, above 0. Default 10,000. */
  readonly ropeBase?: number | undefined;
  /** Limit of the absolute values of queries, keys and values, above 0. Default: no limit. */
  readonly clip?: number | undefined;
}

const olmoNames = optionNames<OlmoOptions & PlaceOptions>({
  ...placeNames,
  vocabulary: true,
  context: true,
  width: true,
  layers: true,
  heads: true,
  keyValueHeads: true,
  hidden: true,
  norm: true,
  normalize: true,
  normEpsilon: true,
  tied: true,
  ropeBase: true,
  clip: true,
});

type Complete = Resolved<OlmoOptions>;

/** Names in Hugging Face's models of all parts of a decoder except the norms of a block. */
const torchNames = new Map([
  ["embedding", "model.embed_tokens"],
  ["norm", "model.norm"],
  ["head", "lm_head"],
  ["attention", "self_attn"],
  ["feedForward", "mlp"],
  ["queries", "q_proj"],
  ["keys", "k_proj"],
  ["values", "v_proj"],
  ["output", "o_proj"],
  ["queryNorm", "q_norm"],
  ["keyNorm", "k_norm"],
  ["gate", "gate_proj"],
  ["up", "up_proj"],
  ["down", "down_proj"],
]);

/** Names of a block's norms in Hugging Face's models, by the option `normalize`. */
const torchNorms = {
  inputs: { attentionNorm: "input_layernorm", feedForwardNorm: "post_attention_layernorm" },
  outputs: { attentionNorm: "post_attention_layernorm", feedForwardNorm: "post_feedforward_layernorm" },
} as const;

function normFor({ norm, width, normEpsilon: epsilon }: Complete, { device }: Place): LayerNorm | RMSNorm {
  return norm === "layernorm"
    ? new LayerNorm(width, { device, learned: false, epsilon })
    : new RMSNorm(width, { device, epsilon });
}

/** Limits x to ± limit. Values inside are returned exactly. */
function clamp(x: Tensor, limit: number): Tensor {
  return limit === Infinity ? x : add(subtract(x, relu(affine(x, 1, -limit))), relu(affine(x, -1, -limit)));
}

/**
 * Standard deviation of the logits of an untrained model. It adds half of its square, 0.03 nats, to the loss of uniform
 * predictions. The deviation of the output matrix follows from it, because the last norm gives every value a mean
 * square of
 * 1. With a fixed deviation, such as the 0.02 of OLMo 2 and of Hugging Face, the logits grow with the width.
 */
const logitDeviation = 0.25;

/**
 * Ratio of the sum of all parts' outputs to the inputs of a part, in the residual stream of an untrained model. It is
 * small, because a tied embedding is small too (see `logitDeviation`): larger outputs would hide the token of a
 * position.
 */
const residualGain = 0.1;

/** Makes a linear layer without bias whose outputs have the variance of its inputs times `gain`². */
function projection(inputs: number, outputs: number, place: Place, gain = 1): Linear {
  return new Linear(inputs, outputs, { ...place, bias: false, deviation: gain / Math.sqrt(inputs) });
}

/** Multi-head attention with rotary positions. */
class Attention extends Module {
  readonly queries: Linear;
  readonly keys: Linear;
  readonly values: Linear;
  readonly queryNorm: RMSNorm | undefined;
  readonly keyNorm: RMSNorm | undefined;
  readonly output: Linear;
  readonly #size: number;
  readonly #heads: number;
  readonly #keyValueHeads: number;
  readonly #base: number;
  readonly #clip: number;
  readonly #shared: SharedHeads | undefined;

  constructor(options: Complete, place: Place, gain: number) {
    super();
    const { width, heads, keyValueHeads, norm, normEpsilon: epsilon, ropeBase, clip } = options;
    const size = width / heads;
    const narrow = keyValueHeads * size;
    this.queries = projection(width, width, place);
    this.keys = projection(width, narrow, place);
    this.values = projection(width, narrow, place);
    this.queryNorm = norm === "rmsnorm" ? new RMSNorm(width, { ...place, epsilon }) : undefined;
    this.keyNorm = norm === "rmsnorm" ? new RMSNorm(narrow, { ...place, epsilon }) : undefined;
    this.output = projection(width, width, place, gain);
    this.#size = size;
    this.#heads = heads;
    this.#keyValueHeads = keyValueHeads;
    this.#base = ropeBase;
    this.#clip = clip;
    this.#shared = keyValueHeads < heads ? new SharedHeads(heads, heads / keyValueHeads, size, place) : undefined;
  }

  protected override torchName(member: string): string {
    return torchNames.get(member) ?? member;
  }

  /** Returns the outputs for `x` [batch, length, width], plus `residual` if it is given. */
  forward(x: Tensor, residual?: Tensor): Tensor {
    const split = (y: Tensor, heads: number) =>
      clamp(y, this.#clip).reshape([...x.shape.slice(0, -1), heads, this.#size]);
    const positioned = (y: Tensor, heads: number, norm?: RMSNorm) =>
      rotary(split(norm?.forward(y) ?? y, heads), { base: this.#base });
    const shared = (y: Tensor) => this.#shared?.repeat(y) ?? y;
    const mixed = causalAttention(
      positioned(this.queries.forward(x), this.#heads, this.queryNorm),
      shared(positioned(this.keys.forward(x), this.#keyValueHeads, this.keyNorm)),
      shared(split(this.values.forward(x), this.#keyValueHeads)),
    );
    return this.output.forward(mixed.reshape(x.shape), residual);
  }
}

/** Repeats heads of keys and values that several heads of queries share. */
class SharedHeads {
  readonly #heads: number;
  readonly #size: number;
  /** Stacked identity matrices, [times · size, size]. */
  readonly #copies: Tensor;

  /**
   * Creates the matrices.
   *
   * @param heads number of heads after the repetition
   * @param times how often each head is repeated
   * @param size size of a head
   */
  constructor(heads: number, times: number, size: number, { device }: Place) {
    const values = new Float32Array(times * size * size);
    for (let row = 0; row < times * size; row++) values[row * size + (row % size)] = 1;
    this.#heads = heads;
    this.#size = size;
    this.#copies = tensor(device, values, [times * size, size]).keep();
  }

  /**
   * Returns [batch, length, heads, size] from the same with fewer heads, with each head repeated. The result is exact in
   * any type, because products with 1 and sums with 0 are.
   */
  repeat(x: Tensor): Tensor {
    const copies = x.dtype === "float32" ? this.#copies : cast(this.#copies, x.dtype);
    return linear(x, copies).reshape([...x.shape.slice(0, -2), this.#heads, this.#size]);
  }
}

/** The feed-forward part, with SwiGLU. */
class FeedForward extends Module {
  readonly gate: Linear;
  readonly up: Linear;
  readonly down: Linear;

  constructor({ width, hidden }: Complete, place: Place, gain: number) {
    super();
    this.gate = projection(width, hidden, place);
    this.up = projection(width, hidden, place);
    this.down = projection(hidden, width, place, gain);
  }

  protected override torchName(member: string): string {
    return torchNames.get(member) ?? member;
  }

  /** Returns the outputs for `x` [batch, length, width], plus `residual` if it is given. */
  forward(x: Tensor, residual?: Tensor): Tensor {
    return this.down.forward(swiglu(this.gate.forward(x), this.up.forward(x)), residual);
  }
}

/** A block: attention, then feed-forward. Each is added to its input, with a norm before or after it. */
class Block extends Module {
  readonly attentionNorm: LayerNorm | RMSNorm;
  readonly attention: Attention;
  readonly feedForwardNorm: LayerNorm | RMSNorm;
  readonly feedForward: FeedForward;
  readonly #normalize: "inputs" | "outputs";

  constructor(options: Complete, place: Place) {
    super();
    // Each block adds to the residual stream twice. With this factor the variance does not grow with the number of
    // blocks, as in GPT-2. If the outputs are normalized, a factor has no effect.
    const gain = options.normalize === "outputs" ? 1 : residualGain / Math.sqrt(2 * options.layers);
    this.attentionNorm = normFor(options, place);
    this.attention = new Attention(options, place, gain);
    this.feedForwardNorm = normFor(options, place);
    this.feedForward = new FeedForward(options, place, gain);
    this.#normalize = options.normalize;
  }

  protected override torchName(member: string): string {
    const norms: Readonly<Record<string, string>> = torchNorms[this.#normalize];
    return norms[member] ?? torchNames.get(member) ?? member;
  }

  forward(x: Tensor): Tensor {
    if (this.#normalize === "outputs") {
      const attended = add(x, this.attentionNorm.forward(this.attention.forward(x)));
      return add(attended, this.feedForwardNorm.forward(this.feedForward.forward(attended)));
    }
    const attended = this.attention.forward(this.attentionNorm.forward(x), x);
    return this.feedForward.forward(this.feedForwardNorm.forward(attended), attended);
  }
}

/**
 * A decoder-only transformer; see {@link olmo}.
 *
 * @example
 * ```ts
 * import { models, openDevice } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const shape = models.olmoShapes["olmo-nano"];
 * const model = new models.Olmo({ ...shape, vocabulary: 256, context: 64, device, seed: 0 });
 * console.log(model.blocks.length); // 4
 * ```
 */
export class Olmo extends Module {
  /** Embedding of the tokens. */
  readonly embedding: Embedding;
  /** The blocks of attention and feed-forward, in their order. */
  readonly blocks: readonly Block[];
  /** Norm before the output layer. */
  readonly norm: LayerNorm | RMSNorm;
  /** Output layer; `undefined` if it shares the matrix of the embedding. */
  readonly head: Linear | undefined;

  /**
   * Creates the model.
   *
   * @throws StepsizeError `invalid-argument` if an option is unknown or out of range; `out-of-memory`
   */

  constructor(options: OlmoOptions & PlaceOptions) {
    super();
    const { device, seed = 0, ...given } = checkedOptions("olmo", olmoNames, options);
    const complete: Complete = {
      norm: "layernorm",
      normalize: "inputs",
      normEpsilon: 1e-5,
      tied: true,
      ropeBase: 1e4,
      keyValueHeads: given.heads,
      clip: Infinity,
      ...givenOptions(given),
    };
    const { vocabulary, width, layers, heads, keyValueHeads, tied } = complete;
    for (const name of ["vocabulary", "context", "width", "layers", "heads", "keyValueHeads", "hidden"] as const)
      if (!Number.isSafeInteger(complete[name]) || complete[name] < 1)
        invalidArgument(`olmo.${name}`, "a whole number of at least 1", complete[name]);
    if (layers > maxLayers) invalidArgument("olmo.layers", `at most ${maxLayers} layers`, layers);
    for (const name of ["normEpsilon", "ropeBase", "clip"] as const)
      if (!(complete[name] > 0)) invalidArgument(`olmo.${name}`, "a number above 0", complete[name]);
    if (complete.norm !== "layernorm" && complete.norm !== "rmsnorm")
      invalidArgument("olmo.norm", '"layernorm" or "rmsnorm"', complete.norm);
    if (complete.normalize !== "inputs" && complete.normalize !== "outputs")
      invalidArgument("olmo.normalize", '"inputs" or "outputs"', complete.normalize);
    if (heads % keyValueHeads !== 0)
      invalidArgument("olmo.keyValueHeads", `a number that divides the ${heads} heads`, keyValueHeads);
    const size = width / heads;
    if (!Number.isInteger(size) || size % 2 !== 0 || size > 256)
      invalidArgument("olmo.heads", `a number that divides the width of ${width} into even parts up to 256`, heads);
    const place = { device, seeds: new Seeds(seed) };
    const outputDeviation = logitDeviation / Math.sqrt(width);
    this.embedding = new Embedding(vocabulary, width, tied ? { ...place, deviation: outputDeviation } : place);
    this.blocks = Array.from({ length: layers }, () => new Block(complete, place));
    this.norm = normFor(complete, place);
    this.head = tied ? undefined : projection(width, vocabulary, place, logitDeviation);
  }

  /** Returns the name in Hugging Face's models. */
  protected override torchName(member: string): string {
    return torchNames.get(member) ?? member.replace(/^blocks\./, "model.layers.");
  }

  /**
   * Computes the logits of the next token at each position.
   *
   * @param tokens int32 [N, length]
   * @returns [N, length, vocabulary]
   * @throws StepsizeError `invalid-argument` if the shape or type does not fit; `device-failed` when the result is
   * read, if a token is not in the vocabulary
   */
  forward(tokens: Tensor): Tensor {
    let x = this.embedding.forward(tokens);
    for (const block of this.blocks) x = block.forward(x);
    return linear(this.norm.forward(x), this.head?.weight ?? this.embedding.weight);
  }
}

/**
 * Makes a decoder-only transformer with the architecture of OLMo: norms before each part, rotary positions, SwiGLU and
 * no biases. With `norm: "rmsnorm"` and `normalize: "outputs"` it has the architecture of OLMo 2.
 *
 * `torchNames()` returns Hugging Face's names of its tensors. `loadHuggingFace` reads whole models.
 *
 * Sources: Groeneveld et al., "OLMo: Accelerating the science of language models", arXiv:2402.00838; "2 OLMo 2
 * Furious", arXiv:2501.00656.
 *
 * @throws StepsizeError `invalid-argument` if an option is unknown or out of range; `out-of-memory`
 *
 * @example
 * ```ts
 * import { models, openDevice, tensor } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const model = models.olmo({ ...models.olmoShapes["olmo-nano"], vocabulary: 256, context: 64, device, seed: 0 });
 * const logits = model.forward(tensor(device, new Int32Array([1, 2, 3, 4]), [1, 4])); // [1, 4, 256]
 * ```
 */
export function olmo(options: OlmoOptions & PlaceOptions): Olmo {
  return new Olmo(options);
}

/**
 * The shapes of the named models. The names give the number of parameters with OLMo's vocabulary of 50,280 tokens and a
 * tied embedding: 36M has 35.8, 73M 73.2, 151M 151.9 and 300M 319.9 million. The shapes are not published ones; they
 * were chosen to give these numbers. `olmo-nano` is small enough to train on a CPU.
 */
export const olmoShapes = {
  "olmo-nano": { width: 128, layers: 4, heads: 4, hidden: 384 },
  "olmo-36m": { width: 384, layers: 8, heads: 6, hidden: 1280 },
  "olmo-73m": { width: 576, layers: 8, heads: 9, hidden: 2432 },
  "olmo-151m": { width: 768, layers: 12, heads: 12, hidden: 3072 },
  "olmo-300m": { width: 1024, layers: 16, heads: 16, hidden: 4096 },
} as const satisfies Record<string, Pick<OlmoOptions, "width" | "layers" | "heads" | "hidden">>;
