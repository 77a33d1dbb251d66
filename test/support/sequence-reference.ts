// The operations of a transformer in float64, written as their definitions read; see reference.ts.
import { type Values, values } from "./reference.js";

/** Rows of a table. */
export function embedding(ids: readonly number[], idShape: readonly number[], table: Values): Values {
  const width = table.shape[1]!;
  return values([...idShape, width], (i) => table.data[ids[Math.floor(i / width)]! * width + (i % width)]!);
}

/** Every row by its own mean and biased variance. */
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

/** Every row by its own root mean square. */
export function rmsNorm(x: Values, gamma: Values | undefined, epsilon: number): Values {
  const columns = x.shape.at(-1)!;
  return values(x.shape, (i) => {
    const row = x.data.subarray(i - (i % columns), i - (i % columns) + columns);
    const meanSquare = row.reduce((total, value) => total + value ** 2, 0) / columns;
    return (x.data[i]! / Math.sqrt(meanSquare + epsilon)) * (gamma?.data[i % columns] ?? 1);
  });
}

/** Pairs half a head apart, as complex numbers, times e^(i·angle). */
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

/** softmax(QKᵀ·scale) over the keys up to each query, times V. */
export function causalAttention(q: Values, k: Values, v: Values, scale: number): Values {
  const [, length, heads, size] = q.shape as [number, number, number, number];
  const row = (x: Values, batch: number, position: number, head: number) => {
    const start = ((batch * length + position) * heads + head) * size;
    return x.data.subarray(start, start + size);
  };
  const dot = (a: Float64Array, b: Float64Array) => a.reduce((total, value, i) => total + value * b[i]!, 0);
  const result = values(q.shape, () => 0);
  for (let batch = 0; batch < q.shape[0]!; batch++)
    for (let head = 0; head < heads; head++)
      for (let query = 0; query < length; query++) {
        const keys = Array.from({ length: query + 1 }, (_, key) => key);
        const scores = keys.map((key) => dot(row(q, batch, query, head), row(k, batch, key, head)) * scale);
        const largest = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - largest));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        const out = row(result, batch, query, head);
        for (const key of keys)
          row(v, batch, key, head).forEach((value, i) => {
            out[i]! += (weights[key]! / total) * value;
          });
      }
  return result;
}

/** The gradients of Σ g·causalAttention(q, k, v) with respect to q, k and v. */
export function causalAttentionGradients(q: Values, k: Values, v: Values, g: Values, scale: number): Values[] {
  const [batches, length, heads, size] = q.shape as [number, number, number, number];
  const [dQ, dK, dV] = [q, k, v].map(({ shape }) => values(shape, () => 0)) as [Values, Values, Values];
  for (let batch = 0; batch < batches; batch++)
    for (let head = 0; head < heads; head++) {
      const at = (position: number) => ((batch * length + position) * heads + head) * size;
      const dot = (a: Values, i: number, b: Values, j: number) => {
        let total = 0;
        for (let d = 0; d < size; d++) total += a.data[at(i) + d]! * b.data[at(j) + d]!;
        return total;
      };
      for (let query = 0; query < length; query++) {
        const keys = Array.from({ length: query + 1 }, (_, key) => key);
        const weights = keys.map((key) => Math.exp(dot(q, query, k, key) * scale));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        // Of each probability, Σ g·v; and what all of them together have of it.
        const products = keys.map((key) => dot(g, query, v, key));
        const mean = products.reduce((sum, product, key) => sum + (product * weights[key]!) / total, 0);
        for (const key of keys) {
          const probability = weights[key]! / total;
          const dScore = probability * (products[key]! - mean) * scale;
          for (let d = 0; d < size; d++) {
            dQ.data[at(query) + d]! += dScore * k.data[at(key) + d]!;
            dK.data[at(key) + d]! += dScore * q.data[at(query) + d]!;
            dV.data[at(key) + d]! += probability * g.data[at(query) + d]!;
          }
        }
      }
    }
  return [dQ, dK, dV];
}

/** silu(gate)·up */
export function swiglu(gate: Values, up: Values): Values {
  return values(gate.shape, (i) => (gate.data[i]! / (1 + Math.exp(-gate.data[i]!))) * up.data[i]!);
}
