import { checkedOptions, optionNames } from "../../options.js";
import { differentiable } from "../autograd.js";
import { execute, expectTensor, type Tensor } from "../tensor.js";

/**
 * Rows of `table` [rows, width] picked by int32 `ids` [...]: [..., width].
 *
 * @throws StepsizeError `device-failed` when the result is read, where an id is no row of the table.
 */
export function embedding(ids: Tensor, table: Tensor): Tensor {
  return differentiable("embedding", [ids, table], undefined, () => ({
    saves: [ids],
    gradient: (g) => [undefined, ...execute("embeddingGradient", [ids, g], { rows: table.shape[0] })],
  }));
}

/** Options of {@link rotary}. */
export interface RotaryOptions {
  /** Default 10,000. */
  readonly base?: number;
}

const rotaryNames = optionNames<RotaryOptions>({ base: true });

/**
 * Rotary position embedding of heads [batch, length, heads, size]: the pair (x[i], x[i + size/2]) at position p is
 * turned by the angle p·base^(−2i/size), so that the product of two heads depends on the distance of their positions.
 * Source: Su et al., arXiv:2104.09864.
 */
export function rotary(x: Tensor, options: RotaryOptions = {}): Tensor {
  const { base = 1e4 } = checkedOptions("rotary", rotaryNames, options);
  return differentiable("rotary", [x], { base }, () => ({
    gradient: (g) => execute("rotary", [g], { base, inverse: true }),
  }));
}

/** Options of {@link causalAttention}. */
export interface AttentionOptions {
  /** What products of queries and keys are multiplied by; default 1/√size. */
  readonly scale?: number;
}

const attentionNames = optionNames<AttentionOptions>({ scale: true });

/**
 * Causal attention, softmax(queries·keysᵀ·scale)·values head by head, where each position sees itself and what is before
 * it. All three and the result are [batch, length, heads, size], size at most 256. The scores are not stored: memory
 * grows with the length, time with its square.
 */
export function causalAttention(queries: Tensor, keys: Tensor, values: Tensor, options: AttentionOptions = {}): Tensor {
  expectTensor("queries", queries);
  const { scale = 1 / Math.sqrt(queries.shape[3] ?? 1) } = checkedOptions("causalAttention", attentionNames, options);
  return differentiable("attention", [queries, keys, values], { scale }, (output, statistics) => ({
    saves: [queries, keys, values, output],
    gradient: (g) => execute("attentionGradient", [queries, keys, values, output, g, ...statistics], { scale }),
  }));
}

/**
 * silu(gate)·up with silu(x) = x/(1 + e⁻ˣ), element by element, for two tensors of one shape. Source: Shazeer,
 * arXiv:2002.05202.
 */
export function swiglu(gate: Tensor, up: Tensor): Tensor {
  return differentiable("swiglu", [gate, up], undefined, () => ({
    saves: [gate, up],
    gradient: (g) => execute("swigluGradient", [gate, up, g]),
  }));
}
