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

/** How many steps a curve of this many is smoothed over. */
export function smoothingSpan(steps: number): number {
  return Math.min(100, Math.max(5, Math.round(steps / 30)));
}
