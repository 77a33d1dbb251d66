/**
 * Exponential moving average with bias correction: unlike the plain recursion, it does not start near zero.
 */
export class Smoother {
  readonly #keep: number;
  #sum = 0;
  #weight = 0;

  /** @param span approximate number of values that the mean covers */
  constructor(span: number) {
    this.#keep = 1 - 1 / Math.max(1, span);
  }

  /** Adds a value and returns the mean. A value that is not finite is ignored. */
  add(value: number): number {
    if (Number.isFinite(value)) {
      this.#sum = this.#keep * this.#sum + value;
      this.#weight = this.#keep * this.#weight + 1;
    }
    return this.value;
  }

  /** The current mean; NaN before the first value. */
  get value(): number {
    return this.#sum / this.#weight;
  }
}

/**
 * Computes the mean of `span` values around each value, fewer at both ends. Unlike {@link Smoother}, it does not lag.
 * Values that are not finite are ignored.
 */
export function centeredMean(values: readonly number[], span: number): number[] {
  const half = Math.floor(span / 2);
  const sums = new Float64Array(values.length + 1);
  const counts = new Float64Array(values.length + 1);
  let [sum, count] = [0, 0];
  values.forEach((value, i) => {
    const finite = Number.isFinite(value);
    sums[i + 1] = sum += finite ? value : 0;
    counts[i + 1] = count += finite ? 1 : 0;
  });
  return values.map((_, i) => {
    // At the start, the window is symmetric. Otherwise a steep fall would look less steep.
    const [from, to] = [Math.max(0, i - half), Math.min(values.length, i + Math.min(half, i) + 1)];
    const between = (totals: Float64Array) => (totals[to] as number) - (totals[from] as number);
    return between(sums) / between(counts);
  });
}

/** Returns the number of steps over which a curve of this many steps is smoothed. */
export function smoothingSpan(steps: number): number {
  return Math.min(100, Math.max(5, Math.round(steps / 30)));
}
