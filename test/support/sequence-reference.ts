// The operations of a transformer in float64, written according to their definitions; see reference.ts.
import { type Values, values } from "./reference.js";

/** Rows of a table. */
export function embedding(ids: readonly number[], idShape: readonly number[], table: Values): Values {
  const width = table.shape[1]!;
  return values([...idShape, width], (i) => table.data[ids[Math.floor(i / width)]! * width + (i % width)]!);
}

/** Normalizes every row by its mean and biased variance. */
export function layerNorm(x: Values, gamma: Values | undefined, beta: Values | undefined, epsilon: number): Values {
  const columns = x.shape.at(-1)!;
  return values(x.shape, (i) => {
    const row = x.data.subarray(i - (i % columns), i - (i % columns) + columns);
    const mean = row.reduce((total, value) => total + value, 0) / columns;
    const variance = row.reduce((total, value) => total + (value - mean) ** 2, 0) / columns;
    const normalized = (x.data[i]! - mean) / Math.sqrt(variance + epsilon);
    return normalized * (gamma?.data[i % columns] ?? 1) + (beta?.data[i % columns] ?? 0);
  });
}

/** Normalizes every row by its root mean square. */
export function rmsNorm(x: Values, gamma: Values | undefined, epsilon: number): Values {
  const columns = x.shape.at(-1)!;
  return values(x.shape, (i) => {
    const row = x.data.subarray(i - (i % columns), i - (i % columns) + columns);
    const meanSquare = row.reduce((total, value) => total + value ** 2, 0) / columns;
    return (x.data[i]! / Math.sqrt(meanSquare + epsilon)) * (gamma?.data[i % columns] ?? 1);
  });
}

/** Multiplies pairs half a head apart, as complex numbers, by e^(i·angle). */
export function rotary(x: Values, base: number): Values {
  const [, length, heads, size] = x.shape as [number, number, number, number];
  return values(x.shape, (at) => {
    const i = at % size;
    const position = Math.floor(at / size / heads) % length;
    const pair = i % (size / 2);
    const angle = position * base ** ((-2 * pair) / size);
    const other = x.data[i < size / 2 ? at + size / 2 : at - size / 2]!;
    return x.data[at]! * Math.cos(angle) + (i < size / 2 ? -other : other) * Math.sin(angle);
  });
}

/** One head's row of [batch, length, heads, size], as a writable view. */
function rowOf(x: Values, batch: number, position: number, head: number): Float64Array {
  const [, length, heads, size] = x.shape as [number, number, number, number];
  const start = ((batch * length + position) * heads + head) * size;
  return x.data.subarray(start, start + size);
}

const dot = (a: Float64Array, b: Float64Array) => a.reduce((total, value, i) => total + value * b[i]!, 0);
const addScaled = (to: Float64Array, factor: number, from: Float64Array) => {
  for (let i = 0; i < to.length; i++) to[i]! += factor * from[i]!;
};

/** Calls f for every query with the probabilities of the keys up to it. */
function forQueries(
  q: Values,
  k: Values,
  scale: number,
  f: (batch: number, head: number, query: number, probabilities: readonly number[]) => void,
): void {
  const [batches, length, heads] = q.shape as [number, number, number, number];
  for (let batch = 0; batch < batches; batch++)
    for (let head = 0; head < heads; head++)
      for (let query = 0; query < length; query++) {
        const scores = Array.from(
          { length: query + 1 },
          (_, key) => dot(rowOf(q, batch, query, head), rowOf(k, batch, key, head)) * scale,
        );
        const largest = scores.reduce((max, score) => Math.max(max, score));
        const weights = scores.map((score) => Math.exp(score - largest));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        f(
          batch,
          head,
          query,
          weights.map((weight) => weight / total),
        );
      }
}

/** softmax(QKᵀ·scale) over the keys up to each query, times V. */
export function causalAttention(q: Values, k: Values, v: Values, scale: number): Values {
  const result = values(q.shape, () => 0);
  forQueries(q, k, scale, (batch, head, query, probabilities) => {
    const out = rowOf(result, batch, query, head);
    for (const [key, p] of probabilities.entries()) addScaled(out, p, rowOf(v, batch, key, head));
  });
  return result;
}

/**
 * The gradients of Σ g·output by q, k and v. Also returns the size of the terms of each sum, because the rounding error
 * is a fraction of them.
 */
export function causalAttentionGradient(q: Values, k: Values, v: Values, g: Values, scale: number) {
  const zeros = () => [q, k, v].map(({ shape }) => values(shape, () => 0)) as [Values, Values, Values];
  const [gradients, sizes] = [zeros(), zeros()];
  forQueries(q, k, scale, (batch, head, query, probabilities) => {
    const at = (x: Values, position: number) => rowOf(x, batch, position, head);
    const add = ([dQ, dK, dV]: [Values, Values, Values], partOf: (row: Float64Array) => Float64Array, sign: 1 | -1) => {
      const gradient = partOf(at(g, query));
      const products = probabilities.map((_, key) => dot(gradient, partOf(at(v, key))));
      const delta = products.reduce((sum, product, key) => sum + product * probabilities[key]!, 0);
      for (const [key, p] of probabilities.entries()) {
        const dS = p * (products[key]! - sign * delta) * scale;
        addScaled(at(dQ, query), dS, partOf(at(k, key)));
        addScaled(at(dK, key), dS, partOf(at(q, query)));
        addScaled(at(dV, key), p, gradient);
      }
    };
    add(gradients, (row) => row, 1);
    add(sizes, (row) => row.map(Math.abs), -1);
  });
  return { gradients, sizes };
}

/** silu(gate)·up */
export function swiglu(gate: Values, up: Values): Values {
  return values(gate.shape, (i) => (gate.data[i]! / (1 + Math.exp(-gate.data[i]!))) * up.data[i]!);
}
