import { StepsizeError } from "../errors.js";
import { PhiloxStream, Purpose } from "../random.js";

/** How the next token is drawn. */
export interface SamplerOptions {
  /** Logits are divided by it before they become probabilities; at 0 the likeliest token is taken. */
  readonly temperature: number;
  /** Only so many of the likeliest tokens can be drawn; of equally likely ones the first. */
  readonly topK: number;
  readonly seed: number;
}

/**
 * Draws ids from logits, one after another: draw k is a function of the seed, k and its logits. Costs O(V log V) for V
 * logits, and O(V) where `topK` is not below V.
 */
export function sampler({ temperature, topK, seed }: SamplerOptions): (logits: Float32Array) => number {
  const random = new PhiloxStream(seed, 0, Purpose.sampling);
  return (logits) => {
    const likeliest = argmax(logits);
    const most = logits[likeliest] ?? Number.NaN;
    if (!Number.isFinite(most)) {
      throw new StepsizeError("non-finite", `the model's largest output is ${most}; its weights are damaged`);
    }
    if (temperature === 0) return likeliest;
    const ids = largest(logits, topK);
    // The largest exponent is 0, so that none overflows.
    const weights = ids.map((id) => Math.exp((logits[id]! - most) / temperature));
    let left = random.uniform() * weights.reduce((sum, weight) => sum + weight, 0);
    for (const [i, weight] of weights.entries()) {
      left -= weight;
      if (left < 0) return ids[i]!;
    }
    // What rounding left over.
    return likeliest;
  };
}

/** A NaN counts as largest, so that it is found. */
function argmax(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (Number.isNaN(logits[i]) || logits[i]! > logits[best]!) best = i;
  return best;
}

/** The ids of the k largest, in order of the ids. */
function largest(logits: Float32Array, k: number): number[] {
  const all = Array.from(logits, (_, id) => id);
  if (k >= logits.length) return all;
  const least = Float32Array.from(logits).sort()[logits.length - k]!;
  const above = all.filter((id) => logits[id]! > least);
  const equal = all.filter((id) => logits[id] === least).slice(0, k - above.length);
  return [...above, ...equal].sort((a, b) => a - b);
}
