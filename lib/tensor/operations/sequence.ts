import type { DataType } from "../../data-type.js";
import { checkedOptions, optionNames } from "../../options.js";
import { differentiable } from "../autograd.js";
import { execute, expectTensor, type Tensor } from "../tensor.js";

/**
 * Returns the rows of a table at given ids.
 *
 * @param ids int32 [...]
 * @param table [rows, width]
 * @returns [..., width]
 * @throws StepsizeError `invalid-argument` if the shapes or types do not fit; `device-failed` when the result is read,
 * if an id is not a row of the table
 */
export function embedding<D extends DataType>(ids: Tensor, table: Tensor<D>): Tensor<D> {
  return differentiable("embedding", [ids, table], undefined, () => ({
    saves: [ids],
    gradient: (g) => [undefined, ...execute("embeddingGradient", [ids, g], { rows: table.shape[0] })],
  }));
}

/** Options of {@link rotary}. */
export interface RotaryOptions {
  /** Base of the angles. Default 10,000. */
  readonly base?: number | undefined;
}

const rotaryNames = optionNames<RotaryOptions>({ base: true });

/**
 * Applies a rotary position embedding to heads.
 *
 * The pair (x[i], x[i + size/2]) at position p is rotated by the angle p·base^(−2i/size). The inner product of two
 * heads then depends on the distance between their positions.
 *
 * Source: Su et al., "RoFormer: Enhanced transformer with rotary position embedding", arXiv:2104.09864.
 *
 * @param x [batch, length, heads, size]
 * @throws StepsizeError `invalid-argument` if `x` has another shape, or if an option is unknown or out of range
 */
export function rotary<D extends DataType>(x: Tensor<D>, options: RotaryOptions = {}): Tensor<D> {
  const { base = 1e4 } = checkedOptions("rotary", rotaryNames, options);
  return differentiable("rotary", [x], { base }, () => ({
    gradient: (g) => execute("rotary", [g], { base, inverse: true }),
  }));
}

/** Options of {@link causalAttention}. */
export interface AttentionOptions {
  /** Factor of the products of queries and keys. Default 1/√size. */
  readonly scale?: number | undefined;
}

const attentionNames = optionNames<AttentionOptions>({ scale: true });

/**
 * Returns causal attention: softmax(queries·keysᵀ·scale)·values for each head, over each position and those before it.
 *
 * All three tensors and the result are [batch, length, heads, size], with a size of at most 256. The scores are not
 * stored: memory grows linearly with the length, time with its square.
 *
 * Sources: Vaswani et al., "Attention is all you need", NeurIPS 2017; Dao et al., "FlashAttention", NeurIPS 2022.
 *
 * @throws StepsizeError `invalid-argument` if the shapes or types do not fit, or if an option is unknown or invalid
 */
export function causalAttention<D extends DataType>(
  queries: Tensor<D>,
  keys: Tensor,
  values: Tensor,
  options: AttentionOptions = {},
): Tensor<D> {
  expectTensor("queries", queries);
  const { scale = 1 / Math.sqrt(queries.shape[3] ?? 1) } = checkedOptions("causalAttention", attentionNames, options);
  return differentiable("attention", [queries, keys, values], { scale }, (output, statistics) => ({
    saves: [queries, keys, values, output],
    gradient: (g) => execute("attentionGradient", [queries, keys, values, output, g, ...statistics], { scale }),
  }));
}

/**
 * Returns silu(gate)·up, elementwise, with silu(x) = x/(1 + e⁻ˣ), for two tensors of equal shape.
 *
 * Source: Shazeer, "GLU variants improve transformer", arXiv:2002.05202.
 *
 * @throws StepsizeError `invalid-argument` if the shapes or types differ
 */
export function swiglu<D extends DataType>(gate: Tensor<D>, up: Tensor): Tensor<D> {
  return differentiable("swiglu", [gate, up], undefined, () => ({
    saves: [gate, up],
    gradient: (g) => execute("swigluGradient", [gate, up, g]),
  }));
}
