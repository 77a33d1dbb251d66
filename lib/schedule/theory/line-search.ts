/** The effort of a search along a line. */
export interface Effort {
  /** Number of intervals of the grid. */
  readonly grid: number;
  /** Number of golden sections around each low point of the grid. */
  readonly rounds: number;
}

/**
 * Returns the lowest value of a function between two numbers. It evaluates an even grid, then searches with golden
 * sections around every point of it that is lower than its neighbors. It finds every minimum that is at least as wide
 * as an interval of the grid. `f` returns `Infinity` for points without a value.
 */
export function lowestBetween(
  [from, to]: readonly [number, number],
  { grid, rounds }: Effort,
  f: (x: number) => number,
): number {
  const at = (i: number) => (i === grid ? to : from + ((to - from) * i) / grid);
  const values = Array.from({ length: grid + 1 }, (_, i) => f(at(i)));
  let lowest = Infinity;
  for (const [i, value] of values.entries()) {
    lowest = Math.min(lowest, value);
    // Of equal neighbors, the first counts as low.
    const isLow = value < (values[i - 1] ?? Infinity) || (i === 0 && value < Infinity);
    if (!isLow || value > (values[i + 1] ?? Infinity)) continue;
    lowest = Math.min(lowest, golden(at(Math.max(0, i - 1)), at(Math.min(grid, i + 1)), rounds, f));
  }
  return lowest;
}

/** Does the same as {@link lowestBetween} over a range of positive numbers, on a logarithmic scale. */
export function lowestOver([from, to]: readonly [number, number], effort: Effort, f: (x: number) => number): number {
  // The rounding of the power must not leave the range.
  return lowestBetween([0, 1], effort, (part) => f(Math.min(to, from * (to / from) ** part)));
}

function golden(left: number, right: number, rounds: number, f: (x: number) => number): number {
  const part = (Math.sqrt(5) - 1) / 2;
  let [x, y] = [right - part * (right - left), left + part * (right - left)];
  let [atX, atY] = [f(x), f(y)];
  for (let round = 0; round < rounds; round++) {
    if (atX <= atY) {
      [right, y, atY] = [y, x, atX];
      x = right - part * (right - left);
      atX = f(x);
    } else {
      [left, x, atX] = [x, y, atY];
      y = left + part * (right - left);
      atY = f(y);
    }
  }
  return Math.min(atX, atY);
}
