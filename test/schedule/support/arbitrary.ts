import fc from "fast-check";

/** A positive number spread evenly over its powers of ten, as scale-free parameters are. */
export function logUniform(lowest: number, highest: number): fc.Arbitrary<number> {
  return fc
    .double({ min: Math.log10(lowest), max: Math.log10(highest), noNaN: true })
    .map((power) => Math.min(highest, Math.max(lowest, 10 ** power)));
}

/** The φ for which UBA promises strictness in floats. */
export const phis = logUniform(1e-3, 1e4);

/** The budgets for which UBA promises strictness in floats. */
export const budgets = fc.integer({ min: 1, max: 100_000 });
