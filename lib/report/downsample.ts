/** A point of a curve. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/**
 * Reduces a curve to about `most` points that look like all of them. It keeps the lowest and the highest point of every
 * stretch, so that spikes stay visible, and both ends.
 */
export function downsample(points: readonly Point[], most = 2000): readonly Point[] {
  if (points.length <= most) return points;
  const stretch = Math.ceil(points.length / (most / 2));
  const kept = points.slice(0, 1);
  for (let start = 1; start < points.length - 1; start += stretch) {
    const part = points.slice(start, Math.min(start + stretch, points.length - 1));
    const lowest = part.reduce((least, point) => (point.y < least.y ? point : least));
    const highest = part.reduce((most, point) => (point.y > most.y ? point : most));
    kept.push(...part.filter((point) => point === lowest || point === highest));
  }
  kept.push(...points.slice(-1));
  return kept;
}
