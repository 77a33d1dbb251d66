import { StepsizeError } from "../errors.js";
import { PhiloxStream, Purpose } from "../random.js";

/** Options of {@link sampler}. */
export interface SamplerOptions {
  /** Divisor of the logits before the softmax. 0 selects the most likely token. */
  readonly temperature: number;
  /** Number of the most likely tokens to draw from. Ties are broken by the lower id. */
  readonly topK: number;
  readonly seed: number;
}

/**
 * Returns a function that draws a token id from logits. The k-th draw is a function of the seed, k and its logits. A draw
 * costs O(V log V) for V logits, and O(V) if `topK` ≥ V.
 *
 * @throws StepsizeError `non-finite`, by the returned function, if the largest logit is not finite
 */
export function sampler({ temperature, topK, seed }: SamplerOptions): (logits: Float32Array) => number {
  const random = new PhiloxStream(seed, 0, Purpose.sampling);
  return (logits) => {
    const likeliest = argmax(logits);
    const most = logits[likeliest] ?? Number.NaN;
    if (!Number.isFinite(most)) {
      throw new StepsizeError(
        "non-finite",
        `expected finite outputs of the model, got ${most}; its weights are damaged`,
      );
    }
    if (temperature === 0) return likeliest;
    const ids = largest(logits, topK);
    // The largest exponent is 0, so none overflows.
    const weights = ids.map((id) => Math.exp((logits[id]! - most) / temperature));
    let left = random.uniform() * weights.reduce((sum, weight) => sum + weight, 0);
    for (const [i, weight] of weights.entries()) {
      left -= weight;
      if (left < 0) return ids[i]!;
    }
    // Rounding can leave a remainder after the last id.
    return likeliest;
  };
}

/** Returns the id of the largest logit. A NaN counts as the largest, so that the caller finds it. */
function argmax(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (Number.isNaN(logits[i]) || logits[i]! > logits[best]!) best = i;
  return best;
}

/** Returns the ids of the k largest logits in ascending order. */
function largest(logits: Float32Array, k: number): number[] {
  const all = Array.from(logits, (_, id) => id);
  if (k >= logits.length) return all;
  const least = Float32Array.from(logits).sort()[logits.length - k]!;
  const above = all.filter((id) => logits[id]! > least);
  const equal = all.filter((id) => logits[id] === least).slice(0, k - above.length);
  return [...above, ...equal].sort((a, b) => a - b);
}
