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
import { norm } from "./lanczos.js";
import { LossSurface } from "./loss-surface.js";
import { readOptions, type Spectrum, type SpectrumOptions, spectrum, spectrumNames } from "./spectrum.js";

/** Options of {@link curvature}. */
export interface CurvatureOptions extends SpectrumOptions {
  /** Default: cross-entropy. */
  readonly loss?: Loss | undefined;
  /** Raw inputs to what the model takes, such as `loadModel` returns; default: nothing is done to them. */
  readonly prepare?: ((raw: Tensor) => Tensor) | undefined;
  /**
   * A number D above 0 for every weight, by the path of its parameter: measures D^(−1/2)·H·D^(−1/2) weighted by
   * D^(−1/2)·∇L, which is the curvature that an update divided by D sees. {@link adamPreconditioner} gives Adam's.
   */
  readonly preconditioner?: Preconditioner | undefined;
}

const names = optionNames<CurvatureOptions>({ ...spectrumNames, loss: true, prepare: true, preconditioner: true });

/** What {@link curvature} found. */
export interface Curvature extends Spectrum {
  /** Of the batch, at the model's weights. */
  readonly loss: number;
  /** Length of the gradient, before any preconditioning. */
  readonly gradientNorm: number;
  /** How many numbers are learned. */
  readonly weights: number;
  /** How far to either side the weights are moved for a difference of gradients, as a Euclidean length. */
  readonly distance: number;
  /** Gradients computed, all together. */
  readonly gradients: number;
}

/**
 * The curvature of a model's loss on one batch, as its gradient sees it: the spectrum of the Hessian H at the present
 * weights, each eigenvalue weighted by the gradient's part along it. Lanczos from the gradient, on products that are
 * differences of gradients, at a distance to either side at which neighbouring distances agree best.
 *
 * The loss is that of training: batch norm uses the statistics of the batch, which are part of the function (they
 * depend on the weights, and it is this loss that the optimizer descends); dropout drops what it would drop next. All
 * of it is frozen, so that it is one function. Weight decay is not in it. Weights, running statistics, counters, modes
 * and gradients are the same bits afterwards, and whenever the caller can look; but nobody else may train the model
 * meanwhile.
 *
 * On a network this is a heuristic. The products have errors: of rounding, and with ReLUs larger ones, because the
 * gradient jumps where a unit changes sides; what is measured there is an average over the distance. `noiseFloor` is
 * how large the errors are seen to be.
 *
 * Costs two gradients a product, 8 to 30 to choose the distance, 12 to see how large the errors are, and 8·weights·(steps + 4) bytes.
 *
 *     const batch = await train.batches({ size: 512 }).at(0);
 *     const { lambdaMax, kappa } = await curvature(model, batch, { prepare });
 *
 * @param model its weights are float32; those that are frozen are left out
 * @param batch as a dataset's `batches` gives it; the larger, the smoother
 * @throws StepsizeError `invalid-argument` for options out of range or a preconditioner that does not fit,
 * `unsupported` for weights of another type, `non-finite` for a loss or a gradient that is, `invalid-state` where the
 * gradient is zero or somebody else changes the weights meanwhile, `out-of-memory`
 */
export async function curvature(model: Module, batch: Batch, options: CurvatureOptions = {}): Promise<Curvature> {
  expectModule("model", model);
  expectOptions("curvature", names, options);
  const { loss = crossEntropy, prepare = (raw) => raw, preconditioner, ...rest } = options;
  for (const [name, one] of Object.entries({ loss, prepare })) expectFunction(name, one, "a function of tensors");
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
    const start = scale ? gradient.map((g, i) => g * scale[i]!) : gradient;
    if (norm(start) === 0)
      throw new StepsizeError("invalid-state", "the gradient is zero: there is no direction to look at curvature from");
    const product = new DifferenceProduct(surface, scale);
    const { distance } = await product.chooseDistance(start);
    const found = await spectrum(
      (vector) => product.of(vector),
      start,
      rest,
      (vector) => product.measure(vector),
    );
    const gradients = product.gradients + 1;
    return { ...found, loss: value, gradientNorm, weights: surface.size, distance, gradients };
  } finally {
    surface.close();
  }
}

/** D^(−1/2), in the order of the gradient. */
function scaleOf(surface: LossSurface, preconditioner: Preconditioner): Float64Array {
  const scale = new Float64Array(surface.size);
  let offset = 0;
  for (const { name, size } of surface.parts) {
    const own = preconditioner.get(name);
    if (own?.length !== size)
      throw new StepsizeError(
        "invalid-argument",
        `preconditioner: expected ${size} numbers for ${name}, got ${own ? own.length : "none"}`,
      );
    for (const value of own) {
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

/** Directions are kept in float64, and a system that is asked for more than it has ends the process without a word. */
function expectRoom(weights: number, steps: number): void {
  const needed = 8 * weights * (steps + 4);
  const limit = constrainedMemory() || Infinity;
  const there = Math.min(totalmem(), limit);
  if (needed <= there) return;
  const gibibytes = (bytes: number) => (bytes / 2 ** 30).toFixed(1);
  throw new StepsizeError(
    "out-of-memory",
    `steps: ${steps} directions of ${weights} numbers take ${gibibytes(needed)} GiB, this machine has ${gibibytes(there)}; ask for fewer`,
  );
}
