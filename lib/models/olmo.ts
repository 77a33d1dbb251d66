import { invalidArgument } from "../errors.js";
import type { Device } from "../native/index.js";
import { Embedding, LayerNorm, Linear, Module, RMSNorm, Seeds } from "../nn/index.js";
import { causalAttention, linear, rotary, swiglu, type Tensor } from "../tensor/index.js";
import type { Place } from "./place.js";

/** Options of {@link olmo}. */
export interface OlmoOptions {
  /** Number of different tokens. */
  readonly vocabulary: number;
  /** Tokens that a training window has. The model itself takes any length. */
  readonly context: number;
  /** Numbers per position. */
  readonly width: number;
  readonly layers: number;
  /** Attention heads: divide the width into even parts of at most 256. */
  readonly heads: number;
  /** Numbers per position inside the feed-forward part. */
  readonly hidden: number;
  /**
   * `layernorm`: LayerNorm that learns nothing, as in OLMo 1. `rmsnorm`: RMSNorm with learned factors, also on queries
   * and keys, as in OLMo 2. Default `layernorm`.
   */
  readonly norm?: "layernorm" | "rmsnorm";
  /** Whether the embedding is the output's matrix too; default true. */
  readonly tied?: boolean;
  /** Of the rotary embedding; default 10,000. */
  readonly ropeBase?: number;
}

type Complete = Required<OlmoOptions>;

/** Names in Hugging Face's models, of all parts of a decoder. */
const torchNames = new Map([
  ["embedding", "model.embed_tokens"],
  ["norm", "model.norm"],
  ["head", "lm_head"],
  ["attention", "self_attn"],
  ["attentionNorm", "input_layernorm"],
  ["feedForward", "mlp"],
  ["feedForwardNorm", "post_attention_layernorm"],
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

function normFor({ norm, width }: Complete, { device }: Place): LayerNorm | RMSNorm {
  return norm === "layernorm" ? new LayerNorm(width, { device, learned: false }) : new RMSNorm(width, { device });
}

/** A projection without bias whose outputs have the variance of its inputs, times `gain`². */
function projection(inputs: number, outputs: number, place: Place, gain = 1): Linear {
  return new Linear(inputs, outputs, { ...place, bias: false, deviation: gain / Math.sqrt(inputs) });
}

class Attention extends Module {
  readonly queries: Linear;
  readonly keys: Linear;
  readonly values: Linear;
  readonly queryNorm: RMSNorm | undefined;
  readonly keyNorm: RMSNorm | undefined;
  readonly output: Linear;
  readonly #heads: number;
  readonly #base: number;

  protected override torchName(member: string): string {
    return torchNames.get(member) ?? member;
  }

  constructor({ width, heads, norm, ropeBase }: Complete, place: Place, gain: number) {
    super();
    this.queries = projection(width, width, place);
    this.keys = projection(width, width, place);
    this.values = projection(width, width, place);
    this.queryNorm = norm === "rmsnorm" ? new RMSNorm(width, place) : undefined;
    this.keyNorm = norm === "rmsnorm" ? new RMSNorm(width, place) : undefined;
    this.output = projection(width, width, place, gain);
    this.#heads = heads;
    this.#base = ropeBase;
  }

  /** @param residual what the result is added to; default: nothing */
  forward(x: Tensor, residual?: Tensor): Tensor {
    const [batch, length, width] = x.shape as [number, number, number];
    const split = (y: Tensor) => y.reshape([batch, length, this.#heads, width / this.#heads]);
    const positioned = (y: Tensor, norm?: RMSNorm) => rotary(split(norm?.forward(y) ?? y), { base: this.#base });
    const mixed = causalAttention(
      positioned(this.queries.forward(x), this.queryNorm),
      positioned(this.keys.forward(x), this.keyNorm),
      split(this.values.forward(x)),
    );
    return this.output.forward(mixed.reshape(x.shape), residual);
  }
}

class FeedForward extends Module {
  readonly gate: Linear;
  readonly up: Linear;
  readonly down: Linear;

  protected override torchName(member: string): string {
    return torchNames.get(member) ?? member;
  }

  constructor({ width, hidden }: Complete, place: Place, gain: number) {
    super();
    this.gate = projection(width, hidden, place);
    this.up = projection(width, hidden, place);
    this.down = projection(hidden, width, place, gain);
  }

  /** @param residual what the result is added to; default: nothing */
  forward(x: Tensor, residual?: Tensor): Tensor {
    return this.down.forward(swiglu(this.gate.forward(x), this.up.forward(x)), residual);
  }
}

/** x + attention(norm(x)), then x + feedForward(norm(x)). */
class Block extends Module {
  readonly attentionNorm: LayerNorm | RMSNorm;
  readonly attention: Attention;
  readonly feedForwardNorm: LayerNorm | RMSNorm;
  readonly feedForward: FeedForward;

  protected override torchName(member: string): string {
    return torchNames.get(member) ?? member;
  }

  constructor(options: Complete, place: Place) {
    super();
    // Each layer adds to the residual stream twice; so its variance does not grow with their number (as in GPT-2).
    const gain = 1 / Math.sqrt(2 * options.layers);
    this.attentionNorm = normFor(options, place);
    this.attention = new Attention(options, place, gain);
    this.feedForwardNorm = normFor(options, place);
    this.feedForward = new FeedForward(options, place, gain);
  }

  forward(x: Tensor): Tensor {
    const attended = this.attention.forward(this.attentionNorm.forward(x), x);
    return this.feedForward.forward(this.feedForwardNorm.forward(attended), attended);
  }
}

/** The decoder of {@link olmo}. */
export class Olmo extends Module {
  readonly embedding: Embedding;
  readonly blocks: readonly Block[];
  readonly norm: LayerNorm | RMSNorm;
  /** Absent where the embedding is the output's matrix too. */
  readonly head: Linear | undefined;

  /** The names in Hugging Face's models. */
  protected override torchName(member: string): string {
    return torchNames.get(member) ?? member.replace(/^blocks\./, "model.layers.");
  }

  constructor({ device, seed, ...given }: OlmoOptions & { device: Device; seed: number }) {
    super();
    const options: Complete = { norm: "layernorm", tied: true, ropeBase: 1e4, ...given };
    const { vocabulary, width, layers, heads, tied } = options;
    for (const name of ["vocabulary", "context", "width", "layers", "heads", "hidden"] as const)
      if (!Number.isSafeInteger(options[name]) || options[name] < 1)
        invalidArgument(`olmo.${name}`, "a whole number of at least 1", options[name]);
    const size = width / heads;
    if (!Number.isInteger(size) || size % 2 !== 0 || size > 256)
      invalidArgument("olmo.heads", `a number that divides the width of ${width} into even parts up to 256`, heads);
    const place = { device, seeds: new Seeds(seed) };
    this.embedding = new Embedding(vocabulary, width, place);
    this.blocks = Array.from({ length: layers }, () => new Block(options, place));
    this.norm = normFor(options, place);
    this.head = tied ? undefined : projection(width, vocabulary, place);
  }

  /** From int32 tokens [N, length] to logits [N, length, vocabulary]: at each position those of the next token. */
  forward(tokens: Tensor): Tensor {
    let x = this.embedding.forward(tokens);
    for (const block of this.blocks) x = block.forward(x);
    return linear(this.norm.forward(x), this.head?.weight ?? this.embedding.weight);
  }
}

/**
 * A decoder-only transformer in the manner of OLMo (Groeneveld et al., arXiv:2402.00838): normalisation before each
 * part, rotary positions, SwiGLU, no biases.
 */
export function olmo(options: OlmoOptions & { device: Device; seed?: number }): Olmo {
  return new Olmo({ ...options, seed: options.seed ?? 0 });
}

/**
 * Shapes by name. The names say the number of parameters with OLMo's vocabulary of 50,280 tokens and the embedding used
 * twice: 36M has 35.8, 73M 73.2, 151M 151.9 and 300M 319.9 million. The shapes are ours,
 * chosen to meet the numbers; nano is for a CPU.
 */
export const olmoShapes = {
  "olmo-nano": { width: 128, layers: 4, heads: 4, hidden: 384 },
  "olmo-36m": { width: 384, layers: 8, heads: 6, hidden: 1280 },
  "olmo-73m": { width: 576, layers: 8, heads: 9, hidden: 2432 },
  "olmo-151m": { width: 768, layers: 12, heads: 12, hidden: 3072 },
  "olmo-300m": { width: 1024, layers: 16, heads: 16, hidden: 4096 },
} as const satisfies Record<string, Pick<OlmoOptions, "width" | "layers" | "heads" | "hidden">>;
