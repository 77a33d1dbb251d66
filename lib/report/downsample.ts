/** A point of a curve. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/**
 * Reduces a curve to about `maxPoints` points that look like all of them. It keeps the lowest and the highest point of
 * every interval, so that spikes stay visible, and both ends.
 */
export function downsample(points: readonly Point[], maxPoints = 2000): readonly Point[] {
  if (points.length <= maxPoints) return points;
  const interval = Math.ceil(points.length / (maxPoints / 2));
  const kept = points.slice(0, 1);
  for (let start = 1; start < points.length - 1; start += interval) {
    const part = points.slice(start, Math.min(start + interval, points.length - 1));
    const lowest = part.reduce((best, point) => (point.y < best.y ? point : best));
    const highest = part.reduce((best, point) => (point.y > best.y ? point : best));
    kept.push(...part.filter((point) => point === lowest || point === highest));
  }
  kept.push(...points.slice(-1));
  return kept;
}
