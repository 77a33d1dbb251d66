// The effect of gradient descent on the error along one eigenvector of a quadratic, and the Chebyshev solution of the
// min-max problem over a range of curvatures. Written from the formulas, independent of the library.

/** Π_s (1 − η_s·λ) by multiplication, with a bound on its rounding error. */
export function contraction(steps: ArrayLike<number>, curvature: number): { value: number; error: number } {
  let value = 1;
  let error = 0;
  for (let s = 0; s < steps.length; s++) {
    const moved = steps[s]! * curvature;
    // The step and its product with λ have errors of a few units of rounding, which cancellation in 1 − ηλ magnifies.
    const off = 4 * Number.EPSILON * (1 + moved);
    error = error * (Math.abs(1 - moved) + off) + Math.abs(value) * off;
    value *= 1 - moved;
  }
  return { value, error };
}

/**
 * The same product for UBA in closed form,
 * [(√X + a√Y)^(2T) + (√X − a√Y)^(2T)] / [(1 + a)^(2T) + (1 − a)^(2T)], a = √(φ/2), X = 1 − η_max·λ, Y = 1 − η_min·λ.
 */
export function ubaContraction(
  { T, phi, maxLr, minLr }: { T: number; phi: number; maxLr: number; minLr: number },
  curvature: number,
): { value: number; error: number } {
  const a = Math.sqrt(phi / 2);
  const X = 1 - maxLr * curvature;
  const Y = 1 - minLr * curvature;
  if (X === 0 && Y === 0) return { value: 0, error: 0 };
  const terms = [1, -1].map((sign) => {
    const re = Math.sqrt(Math.max(X, 0)) + sign * a * Math.sqrt(Math.max(Y, 0));
    const im = Math.sqrt(Math.max(-X, 0)) + sign * a * Math.sqrt(Math.max(-Y, 0));
    return { size: 2 * T * (Math.log(Math.hypot(re, im)) - Math.log1p(a)), angle: 2 * T * Math.atan2(im, re) };
  });
  // Even powers of conjugates, so that the imaginary parts cancel.
  const sum = terms.reduce((total, { size, angle }) => total + Math.exp(size) * Math.cos(angle), 0);
  const sizes = terms.reduce((total, { size }) => total + Math.exp(size), 0);
  const below = 1 + ((1 - a) / (1 + a)) ** (2 * T);
  // X and Y have an error of one unit of rounding of 1 + ηλ. The sum is a polynomial in both, whose derivatives are at
  // most 2T(2T − 1) (times a² for Y) of itself over the roots' mean square. Rounding of the powers adds 8T units.
  const root = Math.hypot(Math.sqrt(Math.abs(X)), a * Math.sqrt(Math.abs(Y)));
  const off = (4 * T * T * (1 + a * a) * (1 + maxLr * curvature)) / root ** 2;
  const error = (sizes / below) * Number.EPSILON * (8 * T + off);
  return { value: sum / below, error };
}

/** The optimal steps for curvatures in [lowest, highest]: reciprocals of the Chebyshev nodes, largest step first. */
export function chebyshevSteps(T: number, lowest: number, highest: number): Float64Array {
  return Float64Array.from({ length: T }, (_, s) => {
    const u = Math.sin(((2 * (T - s) - 1) * Math.PI) / (4 * T)) ** 2;
    const v = Math.sin(((2 * s + 1) * Math.PI) / (4 * T)) ** 2;
    return 1 / (lowest * u + highest * v);
  });
}

/** log of min over steps, max over curvatures, of |Π (1 − ηλ)|: log(2q^T / (1 + q^(2T))), q = (√κ − 1)/(√κ + 1). */
export function logOptimum(T: number, kappa: number): number {
  // A single curvature is solved by one step. The formula would take the logarithm of 0.
  if (kappa === 1) return Number.NEGATIVE_INFINITY;
  const q = (Math.sqrt(kappa) - 1) / (Math.sqrt(kappa) + 1);
  return Math.LN2 + T * Math.log(q) - Math.log1p(q ** (2 * T));
}

/** The T + 1 curvatures of the extremes of the Chebyshev polynomial of degree T, from the highest down. */
export function extremes(T: number, lowest: number, highest: number): number[] {
  const half = (highest - lowest) / 2;
  return Array.from({ length: T + 1 }, (_, j) => lowest + half * (1 + Math.cos((j * Math.PI) / T)));
}

/** max of |Π (1 − ηλ)| over a fine grid of curvatures that includes both ends. */
export function worstOnGrid(steps: ArrayLike<number>, lowest: number, highest: number, points = 4000): number {
  let worst = 0;
  for (let i = 0; i <= points; i++) {
    const curvature = lowest + ((highest - lowest) * i) / points;
    worst = Math.max(worst, Math.abs(contraction(steps, curvature).value));
  }
  return worst;
}
