import { totalmem } from "node:os";
import { constrainedMemory } from "node:process";
import { expectFunction, expectMethods, expectModule } from "../arguments.js";
import type { Batch } from "../data/index.js";
import { StepsizeError } from "../errors.js";
import { crossEntropy, type Loss, type Module } from "../nn/index.js";
import { expectOptions, optionNames } from "../options.js";
import type { Tensor } from "../tensor/index.js";
import type { Preconditioner } from "./adam.js";
import { DifferenceProduct } from "./difference-product.js";
import { LossSurface } from "./loss-surface.js";
import { readOptions, type Spectrum, type SpectrumOptions, spectrum, spectrumNames } from "./spectrum.js";
import { norm, times } from "./vectors.js";

/** Options of {@link curvature}. */
export interface CurvatureOptions extends SpectrumOptions {
  /** Loss function. Default: `nn.crossEntropy`. */
  readonly loss?: Loss | undefined;
  /** Function from raw inputs to inputs of the model, such as `loadModel` returns. Default: inputs are not changed. */
  readonly prepare?: ((raw: Tensor) => Tensor) | undefined;
  /**
   * Preconditioner D: a number above 0 for every weight, by the path of its parameter. The spectrum is then that of
   * D^(−1/2)·H·D^(−1/2), weighted by D^(−1/2)·∇L. This is the curvature for updates that are divided by D.
   * {@link adamPreconditioner} returns that of Adam. Default: none.
   */
  readonly preconditioner?: Preconditioner | undefined;
}

const names = optionNames<CurvatureOptions>({ ...spectrumNames, loss: true, prepare: true, preconditioner: true });

/** The result of {@link curvature}. */
export interface Curvature extends Spectrum {
  /** Loss of the batch at the model's weights. */
  readonly loss: number;
  /** Euclidean norm of the gradient, before preconditioning. */
  readonly gradientNorm: number;
  /** Number of weights that are not frozen. */
  readonly weights: number;
  /** Distance by which the weights are moved to either side for a difference of gradients, as a Euclidean length. */
  readonly distance: number;
  /** Number of gradients that were computed. */
  readonly gradients: number;
}

/**
 * Measures the curvature of a model's loss on one batch: the spectrum of the Hessian H at the present weights, weighted
 * by the gradient.
 *
 * The weight of each eigenvalue is the squared component of the gradient along its eigenvectors. The method is the
 * Lanczos process from the gradient. Products with H are differences of gradients at a distance to either side; the
 * distance is chosen so that products at neighboring distances agree best.
 *
 * The loss is that of training. Batch normalization uses the statistics of the batch, and dropout drops the elements
 * that it would drop next, the same ones for all gradients. Weight decay is not included. Weights, running statistics,
 * counters, modes and gradients are bit-identical afterwards, and whenever other code runs. The model must not be
 * trained in the meantime.
 *
 * For a network the result is a heuristic, because the products have errors. Besides rounding errors, the gradient of a
 * network with ReLUs jumps when a unit changes its sign, so a difference is an average over the distance. `noiseFloor`
 * estimates the size of the errors.
 *
 * The cost is two gradients per product, 8 to 30 to choose the distance, 12 to estimate the errors, and
 * 8·weights·(steps + 4) bytes.
 *
 * @param model the model, with float32 weights. Frozen weights are left out.
 * @param batch a batch of a dataset. A larger batch gives a smoother loss.
 * @throws StepsizeError `invalid-argument` if an option is unknown or out of range, if the preconditioner does not fit,
 * or if all weights are frozen; `unsupported` if weights are not float32; `non-finite` if the loss or a gradient is not
 * finite; `invalid-state` if the gradient is zero, or if the weights change in the meantime; `out-of-memory`
 *
 * @example
 * ```ts
 * import { curvature, data, models, openDevice } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const inputs = Float32Array.from({ length: 32 }, (_, i) => Math.sin(i));
 * const labels = Int32Array.from({ length: 16 }, (_, i) => i % 2);
 * const train = data.fromArrays({ inputs, labels, shape: [2] });
 * const model = models.mlp({ inputs: 2, hidden: [8], classes: 2, device, seed: 0 });
 * const batch = await train.batches({ size: 16 }).at(0);
 * const { lambdaMax, kappa } = await curvature(model, batch, { steps: 5 });
 * ```
 */
export async function curvature(model: Module, batch: Batch, options: CurvatureOptions = {}): Promise<Curvature> {
  expectModule("model", model);
  expectOptions("curvature", names, options);
  const { loss = crossEntropy, prepare = (raw) => raw, preconditioner, ...rest } = options;
  expectFunction("loss", loss, "a function of tensors");
  expectFunction("prepare", prepare, "a function of tensors");
  if (preconditioner !== undefined)
    expectMethods("preconditioner", preconditioner, ["get"], "a Map, as adamPreconditioner(…) gives it");
  const { steps } = readOptions(rest);
  const surface = await LossSurface.of({ model, batch, loss, prepare });
  try {
    expectRoom(surface.size, Math.min(steps, surface.size));
    const scale = preconditioner && scaleOf(surface, preconditioner);
    const { loss: value, gradient } = await surface.at();
    const gradientNorm = norm(gradient);
    if (!Number.isFinite(value) || !Number.isFinite(gradientNorm))
      throw new StepsizeError("non-finite", `the loss is ${value} and the gradient's length ${gradientNorm}`);
    const start = scale ? times(gradient, scale) : gradient;
    if (norm(start) === 0)
      throw new StepsizeError("invalid-state", "the gradient is zero: there is no direction to look at curvature from");
    const product = new DifferenceProduct(surface, scale);
    const { distance } = await product.chooseDistance(start);
    const measuredSpectrum = await spectrum(
      (vector) => product.of(vector),
      start,
      rest,
      (vector) => product.measure(vector),
    );
    const gradients = product.gradients + 1;
    return { ...measuredSpectrum, loss: value, gradientNorm, weights: surface.size, distance, gradients };
  } finally {
    surface.close();
  }
}

/** Returns D^(−1/2) for all weights, in the order of the gradient. */
function scaleOf(surface: LossSurface, preconditioner: Preconditioner): Float64Array {
  const scale = new Float64Array(surface.size);
  let offset = 0;
  for (const { name, size } of surface.parts) {
    const divisors = preconditioner.get(name);
    if (divisors?.length !== size)
      throw new StepsizeError(
        "invalid-argument",
        `preconditioner: expected ${size} numbers for ${name}, got ${divisors ? divisors.length : "none"}`,
      );
    for (const value of divisors) {
      if (!(value > 0))
        throw new StepsizeError(
          "invalid-argument",
          `preconditioner: expected numbers above 0 for ${name}, got ${value}`,
        );
      scale[offset++] = 1 / Math.sqrt(value);
    }
  }
  return scale;
}

/**
 * Throws if the float64 directions need more memory than the machine has. The system might otherwise kill the process.
 */
function expectRoom(weights: number, steps: number): void {
  const needed = 8 * weights * (steps + 4);
  const limit = constrainedMemory() || Infinity;
  const available = Math.min(totalmem(), limit);
  if (needed <= available) return;
  const gibibytes = (bytes: number) => (bytes / 2 ** 30).toFixed(1);
  throw new StepsizeError(
    "out-of-memory",
    `steps: ${steps} directions of ${weights} numbers take ${gibibytes(needed)} GiB, this machine has ${gibibytes(available)}; ask for fewer`,
  );
}
