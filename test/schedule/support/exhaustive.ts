// The smallest value of a function over a unit square or cube by exhaustive search: a dense grid, then Nelder and
// Mead's simplex from each of the lowest local minima, restarted until it no longer improves. Slow, and independent of
// the library.

type Point = readonly number[];

/** The smallest value of `f` over [0, 1]^dimensions. */
export function leastOverCube(
  f: (x: Point) => number,
  { dimensions, grid, starts }: { dimensions: number; grid: number; starts: number },
): number {
  const count = grid ** dimensions;
  const point = (index: number) =>
    Array.from({ length: dimensions }, (_, k) => ((Math.floor(index / grid ** k) % grid) + 0.5) / grid);
  const values = Float64Array.from({ length: count }, (_, index) => f(point(index)));
  const isLow = (index: number) =>
    Array.from({ length: dimensions }, (_, k) => grid ** k).every((stride) => {
      const place = Math.floor(index / stride) % grid;
      const before = place > 0 ? values[index - stride]! : Infinity;
      const after = place + 1 < grid ? values[index + stride]! : Infinity;
      return values[index]! <= before && values[index]! <= after;
    });
  return Array.from(values.keys())
    .filter((index) => values[index]! < Infinity && isLow(index))
    .sort((a, b) => values[a]! - values[b]!)
    .slice(0, starts)
    .reduce((least, index) => Math.min(least, descend(f, point(index), 1 / grid)), Infinity);
}

function descend(f: (x: Point) => number, start: Point, width: number): number {
  let [best, size] = [{ x: start, value: f(start) }, width];
  for (let round = 0; round < 14 && size > 1e-10; round++) {
    const found = simplex(f, best.x, size);
    if (best.value - found.value < 1e-11) size *= 0.15;
    if (found.value < best.value) best = found;
  }
  return best.value;
}

function simplex(f: (x: Point) => number, start: Point, size: number): { x: Point; value: number } {
  const valued = (point: Point) => {
    const x = point.map((value) => Math.min(1, Math.max(0, value)));
    return { x, value: f(x) };
  };
  const moved = (k: number) =>
    start.map((value, j) => (j !== k ? value : value + size > 1 ? value - size : value + size));
  let corners = [start, ...start.map((_, k) => moved(k))].map(valued);
  for (let round = 0; round < 120 * start.length; round++) {
    corners.sort((a, b) => a.value - b.value);
    const [lowest, highest] = [corners[0]!, corners.at(-1)!];
    const extent = Math.max(...lowest.x.map((value, j) => Math.abs(value - highest.x[j]!)));
    if (highest.value - lowest.value < 1e-13 && extent < 1e-12) break;
    const others = corners.slice(0, -1);
    const centre = start.map((_, j) => others.reduce((sum, { x }) => sum + x[j]!, 0) / others.length);
    const along = (t: number) => valued(centre.map((value, j) => value + t * (highest.x[j]! - value)));
    const mirrored = along(-1);
    let next = mirrored;
    if (mirrored.value < lowest.value) {
      const further = along(-2);
      if (further.value < mirrored.value) next = further;
    } else if (mirrored.value >= others.at(-1)!.value) {
      next = mirrored.value < highest.value ? along(-0.5) : along(0.5);
      if (next.value >= Math.min(mirrored.value, highest.value)) {
        corners = corners.map(({ x }) => valued(x.map((value, j) => (value + lowest.x[j]!) / 2)));
        continue;
      }
    }
    corners = [...others, next];
  }
  return corners.reduce((a, b) => (b.value < a.value ? b : a));
}
