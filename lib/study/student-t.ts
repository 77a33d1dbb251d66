/**
 * Computes the probability that |t| is at most a value, for Student's t with a whole number ν of degrees of freedom. The
 * value is given as the angle θ with tan θ = t/√ν. This is the finite series of Abramowitz & Stegun, 26.7.3 and 26.7.4.
 */
function probabilityWithin(angle: number, degrees: number): number {
  const [sine, cosine] = [Math.sin(angle), Math.cos(angle)];
  const odd = degrees % 2 === 1;
  let term = odd ? cosine : 1;
  let sum = degrees === 1 ? 0 : term;
  for (let k = odd ? 3 : 2; k <= degrees - 2; k += 2) {
    term *= ((k - 1) / k) * cosine * cosine;
    sum += term;
  }
  return odd ? (2 / Math.PI) * (angle + sine * sum) : sine * sum;
}

/**
 * Computes the value that |t| exceeds with a probability of 1 − confidence: 2.776 for 95 % and 4 degrees of freedom.
 *
 * @param confidence above 0 and below 1
 * @param degrees of freedom: a whole number of at least 1
 */
export function studentT(confidence: number, degrees: number): number {
  // The probability rises with the angle, from 0 at 0 to 1 at π/2.
  let [low, high] = [0, Math.PI / 2];
  for (let round = 0; round < 64; round++) {
    const middle = (low + high) / 2;
    if (probabilityWithin(middle, degrees) < confidence) low = middle;
    else high = middle;
  }
  return Math.sqrt(degrees) * Math.tan((low + high) / 2);
}

/**
 * Computes the two-sided p-value of t, the probability of an equal or larger |t|: 0.05 for 2.776 and 4 degrees of freedom.
 * The absolute error is about 1e-15, so smaller values are not meaningful.
 *
 * @param t any number, infinite ones included
 * @param degrees of freedom: a whole number of at least 1
 */
export function twoSidedP(t: number, degrees: number): number {
  return Math.max(0, 1 - probabilityWithin(Math.atan(Math.abs(t) / Math.sqrt(degrees)), degrees));
}
