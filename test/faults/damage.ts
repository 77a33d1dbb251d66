/** What faults did that were injected. */
export interface Damage {
  readonly injected: number;
  /**
   * A line for each that was not handled: something was lost, a process ended by our hand, or a wrong answer came. A test
   * expects none.
   */
  readonly lost: readonly string[];
}
