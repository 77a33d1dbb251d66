/** The effects of injected faults. */
export interface Damage {
  readonly injected: number;
  /**
   * A line for each fault that was not handled: data were lost, the process crashed, or a result was wrong. Tests
   * expect none.
   */
  readonly lost: readonly string[];
}
