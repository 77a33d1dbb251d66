/** A point of a curve. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/**
 * At most about `most` points that draw like all of them: of every stretch its lowest and highest one, so that a spike
 * stays. Both ends are kept.
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
