import { expectFunction, expectObject } from "../arguments.js";
import { invalidArgument, StepsizeError } from "../errors.js";
import { expectOptions, optionNames } from "../options.js";
import { arrayName } from "../realms.js";
import { lanczos, type Product } from "./lanczos.js";
import { type Bracket, boundsAt, gaussRule, type JacobiMatrix, massWhere, quantile } from "./spectral-measure.js";
import { endsOf, tridiagonalEigen } from "./tridiagonal.js";
import { minus, norm, scaled } from "./vectors.js";

/** Options of {@link spectrum}. */
export interface SpectrumOptions {
  /** Largest number of products: a whole number of at least 2. Default 40. */
  readonly steps?: number | undefined;
  /** Share of the mass in [λ_q, λ_max], above 0 and below 1. Default 0.95. */
  readonly share?: number | undefined;
  /**
   * Called after each product with the numbers of products so far and at most. If it returns `false`, the process ends.
   */
  readonly onStep?: ((done: number, steps: number) => unknown) | undefined;
}

/** The names of the options in {@link SpectrumOptions}. */
export const spectrumNames = optionNames<SpectrumOptions>({ steps: true, share: true, onStep: true });

/** The product of the matrix with a vector of length 1, with an estimate of its error. */
export type MeasuredProduct = (
  vector: Float64Array,
) => Promise<{ readonly product: Float64Array; readonly error: number }>;

/** A condition number λ_max/λ_q; `Infinity` if no curvature is positive. */
export interface Condition extends Bracket {
  /** Whether λ_q is below the noise floor. Then `estimate` is λ_max divided by the floor, and κ may be larger. */
  readonly lowerBoundOnly: boolean;
}

/**
 * The spectrum of a symmetric matrix weighted by a vector. The mass of each eigenvalue is the squared component of the
 * normalized vector along its eigenvectors. The total mass is 1.
 */
export interface Spectrum {
  /** Lower bound of the largest eigenvalue with mass: the largest Ritz value. */
  readonly lambdaMax: number;
  /** Error bound: there is an eigenvalue within this distance of `lambdaMax`. */
  readonly lambdaMaxError: number;
  /** Upper bound of the smallest eigenvalue with mass: the smallest Ritz value. */
  readonly lambdaMin: number;
  /** λ_q, the quantile of the mass at 1 − `share`. */
  readonly lambdaQ: Bracket;
  /** Condition number κ = λ_max/λ_q. */
  readonly kappa: Condition;
  /** Mass of negative eigenvalues. Eigenvalues within the noise floor around 0 count in `highest` only. */
  readonly negativeMass: Bracket;
  /** The option `share`. */
  readonly share: number;
  /**
   * Estimated error of the products. Eigenvalues that are closer than this, to each other or to 0, cannot be
   * distinguished. It is the largest of the asymmetry of the products and, for measured products, of their errors along
   * the start vector and along the eigenvector of `lambdaMax`.
   */
  readonly noiseFloor: number;
  /** Ritz values in rising order with their weights: the Gauss rule of the spectrum. */
  readonly ritz: readonly { readonly value: number; readonly weight: number }[];
  /** Matrix of the Lanczos process, for {@link massBounds}. */
  readonly matrix: JacobiMatrix;
  /** Number of products of the Lanczos process. */
  readonly steps: number;
  /** Whether no direction was left. Then all results are exact up to the noise floor. */
  readonly exhausted: boolean;
}

/**
 * Measures the spectrum of a symmetric matrix weighted by a vector, with the Lanczos process.
 *
 * The bounds are those of Chebyshev, Markov and Stieltjes. For exact products they are certain, because no measure with
 * the same moments is outside. All of them are widened by the noise floor, which estimates the errors of the products
 * and is not a bound.
 *
 * For vectors of n numbers and m products it takes 8n(m + 1) bytes and 8nm² operations, besides the products.
 *
 * @param product returns the matrix times a vector, as a new array
 * @param vector the weights of the spectrum; for the curvature of a loss, its gradient
 * @param measured for products with errors: returns the same product with an estimate of its error. It is called twice.
 * Default: only asymmetry counts as an error.
 * @throws StepsizeError `invalid-argument` if an option is unknown or out of range, or if the vector is zero or not a
 * Float64Array; `non-finite` if the vector or a product is not finite
 *
 * @example
 * ```ts
 * import { spectrum } from "stepsize";
 *
 * const eigenvalues = [0.1, 1, 10];
 * const vector = new Float64Array([1, 1, 1]);
 * const { lambdaMax, kappa } = await spectrum((v) => v.map((x, i) => x * eigenvalues[i]!), vector);
 * console.log(lambdaMax, kappa.estimate); // 10, 100
 * ```
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
  const [, highest] = endsOf(tridiagonalEigen(matrix.diagonal, matrix.offDiagonal));
  const residual = norm(minus(top.product, scaled(direction, highest.value)));
  return describeSpectrum(matrix, { asymmetry, symmetric: Math.max(start.error, top.error), residual }, share);
}

/** Estimates of the errors of products. */
interface ProductErrors {
  /** Error that a symmetric matrix cannot have. */
  readonly asymmetry: number;
  /** Error that a symmetric matrix can have too. */
  readonly symmetric: number;
  /** Norm of the product of the Ritz vector of λ_max minus λ_max times that vector. */
  readonly residual: number;
}

/**
 * Returns the options with their defaults.
 *
 * @throws StepsizeError `invalid-argument` if a value is out of range
 */
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
  const rule = gaussRule(matrix);
  const [lowest, highest] = endsOf(tridiagonalEigen(matrix.diagonal, matrix.offDiagonal));
  const [lambdaMin, lambdaMax] = [lowest.value, highest.value];
  // Products that are exactly symmetric still have rounding errors.
  const noiseFloor = Math.max(asymmetry, symmetric, 1e-13 * Math.max(-lambdaMin, lambdaMax));
  const q = quantile(matrix, 1 - share);
  const lambdaQ = { estimate: q.estimate, lowest: q.lowest - noiseFloor, highest: q.highest + noiseFloor };
  return {
    lambdaMax,
    // For any unit vector v, a symmetric matrix A has an eigenvalue within |Av − λv| of λ.
    lambdaMaxError: Math.max(matrix.next * Math.abs(highest.last), residual) + noiseFloor,
    lambdaMin,
    lambdaQ,
    kappa: condition(lambdaMax, lambdaQ, noiseFloor),
    negativeMass: {
      estimate: massWhere(rule, (value) => value < -noiseFloor),
      lowest: boundsAt(matrix, -noiseFloor).below,
      highest: boundsAt(matrix, noiseFloor).upTo,
    },
    share,
    noiseFloor,
    ritz: rule,
    matrix,
    steps: rule.length,
    exhausted: matrix.next === 0,
  };
}

function condition(lambdaMax: number, lambdaQ: Bracket, noiseFloor: number): Condition {
  // An eigenvalue within the noise floor may be 0.
  const over = (lambda: number) => (lambda > 0 && lambdaMax > 0 ? lambdaMax / lambda : Infinity);
  const lowerBoundOnly = !(lambdaQ.estimate > noiseFloor);
  return {
    estimate: over(lowerBoundOnly ? noiseFloor : lambdaQ.estimate),
    lowest: over(Math.max(lambdaQ.highest, noiseFloor)),
    highest: over(lambdaQ.lowest),
    lowerBoundOnly,
  };
}
