import { expectFunction, expectObject } from "../arguments.js";
import { invalidArgument, StepsizeError } from "../errors.js";
import { expectOptions, optionNames } from "../options.js";
import { arrayName } from "../realms.js";
import { lanczos, norm, type Product, scaled } from "./lanczos.js";
import { type Bracket, boundsAt, gaussRule, type JacobiMatrix, quantile } from "./spectral-measure.js";
import { tridiagonalEigen } from "./tridiagonal.js";

/** Options of {@link spectrum}. */
export interface SpectrumOptions {
  /** Products at most: a whole number of at least 2; default 40. */
  readonly steps?: number | undefined;
  /** The share of the mass that [λ_q, λ_max] holds: above 0 and below 1; default 0.95. */
  readonly share?: number | undefined;
  /** Called after each product with the number made so far and the most there can be; `false` ends it there. */
  readonly onStep?: ((done: number, steps: number) => unknown) | undefined;
}

/** The names of these options. */
export const spectrumNames = optionNames<SpectrumOptions>({ steps: true, share: true, onStep: true });

/** A product with a vector of length 1, and how far it may be off. */
export type MeasuredProduct = (
  vector: Float64Array,
) => Promise<{ readonly product: Float64Array; readonly error: number }>;

/** λ_max/λ_q; `Infinity` where no curvature is positive. */
export interface Condition extends Bracket {
  /** Whether λ_q is under the noise floor: then `estimate` is λ_max over the floor, and κ may be anything above. */
  readonly lowerBoundOnly: boolean;
}

/**
 * The spectrum of a symmetric matrix as a vector sees it: mass at each eigenvalue λ, which is the squared part of the
 * vector along λ's eigenvectors. All mass together is 1.
 */
export interface Spectrum {
  /** The largest eigenvalue that the vector has a part in, from below. */
  readonly lambdaMax: number;
  /** There is an eigenvalue within this distance of `lambdaMax`. */
  readonly lambdaMaxError: number;
  /** The smallest eigenvalue that the vector has a part in, from above. */
  readonly lambdaMin: number;
  /** Where 1 − `share` of the mass is below. */
  readonly lambdaQ: Bracket;
  /** How many times larger the largest curvature is than that at the lower end of most of the mass. */
  readonly kappa: Condition;
  /** The mass at negative eigenvalues. Those within the noise floor of 0 are counted in `highest` alone. */
  readonly negativeMass: Bracket;
  readonly share: number;
  /**
   * Eigenvalues closer than this cannot be told apart, and from 0: the error of the products, as they show it. The
   * largest of what no symmetric matrix could have and, of products that are measured, what {@link MeasuredProduct}
   * says along the start vector and along the eigenvector of `lambdaMax`.
   */
  readonly noiseFloor: number;
  /** Ritz values in rising order with their weights: the nodes of Gauss's rule. */
  readonly ritz: readonly { readonly value: number; readonly weight: number }[];
  /** For {@link massBounds}: what is known of the mass on the left of any point. */
  readonly matrix: JacobiMatrix;
  /** Products made. */
  readonly steps: number;
  /** Whether there was no direction left: then everything here is exact, up to the noise. */
  readonly exhausted: boolean;
}

/**
 * The spectrum of a symmetric matrix weighted by a vector, by the Lanczos process. Brackets are those of Chebyshev, Markov
 * and Stieltjes: no mass with the same moments is outside, so for exact products they are certain; all of them are
 * widened by the noise floor, which is a measure of the products' errors and not a bound.
 *
 * For n numbers and m products: 8n(m + 1) bytes, 8nm² operations, and the products.
 *
 *     const { lambdaMax, kappa } = await spectrum((v) => v.map((x, i) => x * eigenvalues[i]), gradient);
 *
 * @param product the matrix times a vector: a new array
 * @param vector the weights of the spectrum: for curvature the gradient
 * @param measured for products with errors: the same product with its error, called twice; default: the errors are those
 * that asymmetry shows
 * @throws StepsizeError `invalid-argument` for options out of range or a vector that is zero, `non-finite` where the
 * vector or a product is not finite
 */
export async function spectrum(
  product: Product,
  vector: Float64Array,
  options: SpectrumOptions = {},
  measured?: MeasuredProduct,
): Promise<Spectrum> {
  expectFunction("product", product, "a function, the matrix times a vector");
  if (arrayName(vector) !== "Float64Array") invalidArgument("vector", "a Float64Array", vector);
  expectOptions("spectrum", spectrumNames, options);
  const { steps, share, onStep } = readOptions(options);
  const length = norm(vector);
  if (!Number.isFinite(length)) throw new StepsizeError("non-finite", "vector: is not finite");
  if (length === 0) invalidArgument("vector", "one that is not zero", "zeros");
  const { matrix, asymmetry, largest } = await lanczos(product, vector, {
    steps,
    onStep: onStep && ((done) => onStep(done, steps)),
  });
  if (measured === undefined) return describeSpectrum(matrix, { asymmetry, symmetric: 0, residual: 0 }, share);
  const direction = largest();
  const [start, top] = [await measured(scaled(vector, 1 / length)), await measured(direction)];
  const lambdaMax = tridiagonalEigen(matrix.diagonal, matrix.offDiagonal).values.at(-1)!;
  const residual = norm(top.product.map((value, i) => value - lambdaMax * direction[i]!));
  return describeSpectrum(matrix, { asymmetry, symmetric: Math.max(start.error, top.error), residual }, share);
}

/** The errors of products, as they show themselves. */
interface ProductErrors {
  /** What no symmetric matrix could have. */
  readonly asymmetry: number;
  /** What one could have, too. */
  readonly symmetric: number;
  /** How far the product of the Ritz vector of λ_max is from λ_max times it. */
  readonly residual: number;
}

/** Options with their defaults, checked. */
export function readOptions(options: SpectrumOptions) {
  expectObject("options", options);
  const { steps = 40, share = 0.95, onStep } = options;
  if (onStep !== undefined) expectFunction("onStep", onStep);
  if (typeof share !== "number") invalidArgument("share", "a number above 0 and below 1", share);
  if (!Number.isSafeInteger(steps) || steps < 2) invalidArgument("steps", "a whole number of at least 2", steps);
  if (!(share > 0 && share < 1)) invalidArgument("share", "a number above 0 and below 1", share);
  return { steps, share, onStep };
}

function describeSpectrum(
  matrix: JacobiMatrix,
  { asymmetry, symmetric, residual }: ProductErrors,
  share: number,
): Spectrum {
  const { values, last } = tridiagonalEigen(matrix.diagonal, matrix.offDiagonal);
  const { nodes, weights } = gaussRule(matrix);
  const lambdaMax = values.at(-1)!;
  // Products that are symmetric to the last bit are rounded all the same.
  const noiseFloor = Math.max(asymmetry, symmetric, 1e-13 * Math.max(-values[0]!, lambdaMax));
  const q = quantile(matrix, 1 - share);
  const lambdaQ = { estimate: q.estimate, lowest: q.lowest - noiseFloor, highest: q.highest + noiseFloor };
  return {
    lambdaMax,
    // For any unit vector v, a symmetric matrix A has an eigenvalue within |Av − λv| of λ.
    lambdaMaxError: Math.max(matrix.next * Math.abs(last.at(-1)!), residual) + noiseFloor,
    lambdaMin: values[0]!,
    lambdaQ,
    kappa: condition(lambdaMax, lambdaQ, noiseFloor),
    negativeMass: {
      estimate: weights.reduce((sum, weight, i) => (nodes[i]! < -noiseFloor ? sum + weight : sum), 0),
      lowest: boundsAt(matrix, -noiseFloor).below,
      highest: boundsAt(matrix, noiseFloor).upTo,
    },
    share,
    noiseFloor,
    ritz: Array.from(nodes, (value, i) => ({ value, weight: weights[i]! })),
    matrix,
    steps: values.length,
    exhausted: matrix.next === 0,
  };
}

function condition(lambdaMax: number, lambdaQ: Bracket, noiseFloor: number): Condition {
  // What is not told from 0 may be 0.
  const over = (lambda: number) => (lambda > 0 && lambdaMax > 0 ? lambdaMax / lambda : Infinity);
  const lowerBoundOnly = !(lambdaQ.estimate > noiseFloor);
  return {
    estimate: over(lowerBoundOnly ? noiseFloor : lambdaQ.estimate),
    lowest: over(Math.max(lambdaQ.highest, noiseFloor)),
    highest: over(lambdaQ.lowest),
    lowerBoundOnly,
  };
}
