import { expectFinite, expectMethods, expectShape } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import type { Device } from "../native/index.js";
import { normal, type Tensor, uniform } from "../tensor/index.js";

/**
 * Hands out random streams for the parts of a model, so that equal seeds give equal weights and no two parameters share
 * their numbers.
 */
export class Seeds {
  readonly seed: number;
  #next = 0;

  /** @param seed a safe integer ≥ 0 */
  constructor(seed: number) {
    if (!Number.isSafeInteger(seed) || seed < 0) invalidArgument("seed", "a whole number from 0 to 2^53 − 1", seed);
    this.seed = seed;
  }

  /** The next stream of the seed. */
  next(): { seed: number; stream: number } {
    return { seed: this.seed, stream: this.#next++ };
  }
}

/** The seeds given, or those of a number; default 0. */
export function seedsOf(seeds: Seeds | number = 0): Seeds {
  if (typeof seeds === "number") return new Seeds(seeds);
  expectMethods("seeds", seeds, ["next"], "Seeds, or a number");
  return seeds;
}

/** How many inputs and outputs a weight connects: for [outputs, inputs] and [outputs, height, width, inputs]. */
function fans(shape: readonly number[]): { fanIn: number; fanOut: number } {
  expectShape("shape", shape);
  const [outputs = 1, ...rest] = shape;
  const window = rest.slice(0, -1).reduce((product, size) => product * size, 1);
  return { fanIn: rest.reduce((product, size) => product * size, 1), fanOut: outputs * window };
}

/** Evenly in ±1/√fanIn: what PyTorch gives its linear and convolution layers by default. */
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
 * Normal with variance 2/fan, which keeps the variance through ReLUs. Source: He et al., "Delving deep into rectifiers",
 * ICCV 2015.
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
