/** What the records of a burst together may take, in milliseconds: nobody sees that they come at once. */
const longest = 5;

/**
 * How many replays' metrics are read at once. Reading costs the host about as much as replaying: steps of less than a
 * millisecond share one reading, while slow ones are told as each is done.
 */
export class BurstLength {
  /** Steps in the next burst. */
  steps = 1;
  readonly #most: number;
  #last: number | undefined;

  constructor(most: number) {
    this.#most = most;
  }

  /** Told when the metrics of so many steps arrive, in milliseconds of any clock. */
  arrived(steps: number, now: number): void {
    if (this.#last !== undefined) {
      const fitting = Math.floor((longest * steps) / (now - this.#last));
      this.steps = Math.max(1, Math.min(fitting, this.steps * 2, this.#most));
    }
    this.#last = now;
  }
}
