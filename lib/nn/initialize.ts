import { expectFinite, expectMethods, expectShape } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import type { Device } from "../native/index.js";
import { elementCount } from "../shapes.js";
import { normal, type Tensor, uniform } from "../tensor/index.js";

/**
 * A source of random streams for the parts of a model. Equal seeds give equal weights, and no two parameters have the
 * same random numbers.
 *
 * @example
 * ```ts
 * import { nn, openDevice } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const seeds = new nn.Seeds(0);
 * const first = new nn.Linear(4, 8, { device, seeds });
 * const second = new nn.Linear(8, 2, { device, seeds });
 * ```
 */
export class Seeds {
  /** The seed of all streams. */
  readonly seed: number;
  #next = 0;

  /**
   * Creates a source of streams.
   *
   * @param seed a safe integer ≥ 0
   * @throws StepsizeError `invalid-argument` for anything else
   */
  constructor(seed: number) {
    if (!Number.isSafeInteger(seed) || seed < 0) invalidArgument("seed", "a whole number from 0 to 2^53 − 1", seed);
    this.seed = seed;
  }

  /** Returns the next stream, as options of `ops.uniform` and `ops.normal`. */
  next(): { seed: number; stream: number } {
    return { seed: this.seed, stream: this.#next++ };
  }
}

/** Returns the given seeds, or new ones for a number. Throws `invalid-argument` for anything else. */
export function seedsOf(seeds: Seeds | number = 0): Seeds {
  if (typeof seeds === "number") return new Seeds(seeds);
  expectMethods("seeds", seeds, ["next"], "Seeds, or a number");
  return seeds;
}

/** Returns the fan-in and fan-out of a weight [outputs, inputs] or [outputs, height, width, inputs]. */
function fans(shape: readonly number[]): { fanIn: number; fanOut: number } {
  expectShape("shape", shape);
  const [outputs = 1, ...rest] = shape;
  const window = elementCount(rest.slice(0, -1));
  return { fanIn: elementCount(rest), fanOut: outputs * window };
}

/**
 * Returns random weights, uniformly distributed in ±1/√fanIn. This is PyTorch's default for linear and convolution
 * layers.
 *
 * @param shape [outputs, inputs] or [outputs, height, width, inputs]
 * @param fanIn number of inputs of each output. Default: computed from the shape.
 * @throws StepsizeError `invalid-argument` if an argument has the wrong type; `out-of-memory`
 */
export function fanInUniform(
  device: Device,
  shape: readonly number[],
  seeds: Seeds,
  fanIn = fans(shape).fanIn,
): Tensor {
  expectFinite("fanIn", fanIn);
  const bound = 1 / Math.sqrt(Math.max(1, fanIn));
  return uniform(device, shape, { low: -bound, high: bound, ...seedsOf(seeds).next() });
}

/**
 * Returns random weights, normally distributed with variance 2/fan. It preserves the variance through layers with ReLU.
 *
 * Source: He et al., "Delving deep into rectifiers", ICCV 2015.
 *
 * @param shape [outputs, inputs] or [outputs, height, width, inputs]
 * @param mode which fan is used: the number of inputs of each output, or of outputs of each input. Default `"fanOut"`.
 * @throws StepsizeError `invalid-argument` if an argument has the wrong type; `out-of-memory`
 */
export function kaimingNormal(
  device: Device,
  shape: readonly number[],
  seeds: Seeds,
  mode: "fanIn" | "fanOut" = "fanOut",
): Tensor {
  if (mode !== "fanIn" && mode !== "fanOut") invalidArgument("mode", '"fanIn" or "fanOut"', mode);
  return normal(device, shape, { deviation: Math.sqrt(2 / Math.max(1, fans(shape)[mode])), ...seedsOf(seeds).next() });
}
