/** Longest time between two reads of results, in milliseconds. A delay this short is not noticeable. */
const longest = 5;

/**
 * The number of replays whose metrics are read at once. A read costs the host about as much as a replay. So steps of
 * less than a millisecond share a read, and each slow step has its own.
 */
export class BurstLength {
  /** Number of steps in the next burst. */
  steps = 1;
  readonly #most: number;
  #last: number | undefined;

  /**
   * Starts with bursts of one step.
   *
   * @param most largest number of steps in a burst
   */
  constructor(most: number) {
    this.#most = most;
  }

  /**
   * Adapts the length when the metrics of a burst arrive.
   *
   * @param steps number of steps in the burst
   * @param now the time in milliseconds, of any clock
   */
  arrived(steps: number, now: number): void {
    if (this.#last !== undefined) {
      const fitting = Math.floor((longest * steps) / (now - this.#last));
      this.steps = Math.max(1, Math.min(fitting, this.steps * 2, this.#most));
    }
    this.#last = now;
  }
}
