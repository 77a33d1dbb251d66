/** The least value of a function over a range of positive numbers: an even grid of logarithms, then golden sections. */
export function lowestOver(
  [from, to]: readonly [number, number],
  { grid, rounds }: { readonly grid: number; readonly rounds: number },
  f: (x: number) => number,
): number {
  // A power rounds, and must not leave the range.
  const at = (part: number) => f(Math.min(to, from * (to / from) ** part));
  const values = Array.from({ length: grid + 1 }, (_, i) => at(i / grid));
  const least = Math.min(...values);
  const around = values.indexOf(least);
  let left = Math.max(0, around - 1) / grid;
  let right = Math.min(grid, around + 1) / grid;
  const golden = (Math.sqrt(5) - 1) / 2;
  let [x, y] = [right - golden * (right - left), left + golden * (right - left)];
  let [atX, atY] = [at(x), at(y)];
  for (let round = 0; round < rounds; round++) {
    if (atX <= atY) {
      [right, y, atY] = [y, x, atX];
      x = right - golden * (right - left);
      atX = at(x);
    } else {
      [left, x, atX] = [x, y, atY];
      y = left + golden * (right - left);
      atY = at(y);
    }
  }
  return Math.min(least, atX, atY);
}
