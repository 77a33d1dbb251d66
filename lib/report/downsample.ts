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
  const kept: Point[] = [points[0] as Point];
  for (let start = 1; start < points.length - 1; start += stretch) {
    const end = Math.min(start + stretch, points.length - 1);
    let lowest = start;
    let highest = start;
    for (let i = start; i < end; i++) {
      if ((points[i] as Point).y < (points[lowest] as Point).y) lowest = i;
      if ((points[i] as Point).y > (points[highest] as Point).y) highest = i;
    }
    const [first, second] = lowest < highest ? [lowest, highest] : [highest, lowest];
    kept.push(points[first] as Point);
    if (second !== first) kept.push(points[second] as Point);
  }
  kept.push(points.at(-1) as Point);
  return kept;
}
