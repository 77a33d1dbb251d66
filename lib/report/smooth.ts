/**
 * A running mean that forgets: each value counts a little less with every further one. Unlike the plain recursion it
 * does not start near zero.
 */
export class Smoother {
  readonly #keep: number;
  #sum = 0;
  #weight = 0;

  /** @param span how many values the mean is over, about */
  constructor(span: number) {
    this.#keep = 1 - 1 / Math.max(1, span);
  }

  /** Takes the next value, and gives the mean so far. A value that is not finite changes nothing. */
  add(value: number): number {
    if (Number.isFinite(value)) {
      this.#sum = this.#keep * this.#sum + value;
      this.#weight = this.#keep * this.#weight + 1;
    }
    return this.value;
  }

  /** NaN before the first value. */
  get value(): number {
    return this.#sum / this.#weight;
  }
}

/**
 * The mean of the values around each one, which unlike {@link Smoother} does not lag behind; fewer at both ends. Values
 * that are not finite are left out.
 */
export function centredMean(values: readonly number[], span: number): number[] {
  const half = Math.floor(span / 2);
  const sums = new Float64Array(values.length + 1);
  const counts = new Float64Array(values.length + 1);
  values.forEach((value, i) => {
    const finite = Number.isFinite(value);
    sums[i + 1] = (sums[i] as number) + (finite ? value : 0);
    counts[i + 1] = (counts[i] as number) + (finite ? 1 : 0);
  });
  return values.map((_, i) => {
    // At the start no further ahead than back, or a steep fall would look less steep than it is.
    const [from, to] = [Math.max(0, i - half), Math.min(values.length, i + Math.min(half, i) + 1)];
    return ((sums[to] as number) - (sums[from] as number)) / ((counts[to] as number) - (counts[from] as number));
  });
}

/** How many steps a curve of this many is smoothed over. */
export function smoothingSpan(steps: number): number {
  return Math.min(100, Math.max(5, Math.round(steps / 30)));
}
