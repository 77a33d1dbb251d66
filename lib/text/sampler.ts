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
    const top = likeliest(logits);
    if (!Number.isFinite(top.logit)) {
      throw new StepsizeError(
        "non-finite",
        `expected finite outputs of the model, got ${top.logit}; its weights are damaged`,
      );
    }
    if (temperature === 0) return top.id;
    // The largest exponent is 0, so none overflows.
    const candidates = largest(logits, topK).map(({ id, logit }) => ({
      id,
      weight: Math.exp((logit - top.logit) / temperature),
    }));
    let left = random.uniform() * candidates.reduce((sum, { weight }) => sum + weight, 0);
    for (const { id, weight } of candidates) {
      left -= weight;
      if (left < 0) return id;
    }
    // Rounding can leave a remainder after the last id.
    return top.id;
  };
}

/** A token with its logit. */
interface Candidate {
  readonly id: number;
  readonly logit: number;
}

/** Returns the token with the largest logit. A NaN counts as the largest, so that the caller finds it. */
function likeliest(logits: Float32Array): Candidate {
  let best = { id: 0, logit: logits[0] ?? Number.NaN };
  logits.forEach((logit, id) => {
    if (Number.isNaN(logit) || logit > best.logit) best = { id, logit };
  });
  return best;
}

/** Returns the tokens with the k largest logits in ascending order of their ids. */
function largest(logits: Float32Array, k: number): Candidate[] {
  const all = Array.from(logits, (logit, id) => ({ id, logit }));
  if (k >= logits.length) return all;
  const least = logits.toSorted()[logits.length - k]!;
  const above = all.filter(({ logit }) => logit > least);
  const equal = all.filter(({ logit }) => logit === least).slice(0, k - above.length);
  return [...above, ...equal].sort((a, b) => a.id - b.id);
}
