import fc from "fast-check";

/** A positive number, uniform on a logarithmic scale. */
export function logUniform(lowest: number, highest: number): fc.Arbitrary<number> {
  return fc
    .double({ min: Math.log10(lowest), max: Math.log10(highest), noNaN: true })
    .map((power) => Math.min(highest, Math.max(lowest, 10 ** power)));
}

/** The range of φ in which UBA decreases strictly in floating point. */
export const phis = logUniform(1e-3, 1e4);

/** The range of budgets in which UBA decreases strictly in floating point. */
export const budgets = fc.integer({ min: 1, max: 100_000 });
