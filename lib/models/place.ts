import type { Device } from "../native/index.js";
import type { Seeds } from "../nn/index.js";
import { optionNames } from "../options.js";

/** Device and seed of a model's weights. */
export interface PlaceOptions {
  /** Device of the weights. */
  readonly device: Device;
  /** Seed of the initial weights: a safe integer ≥ 0. Default 0. */
  readonly seed?: number | undefined;
}

/** The names of the options in {@link PlaceOptions}. */
export const placeNames = optionNames<PlaceOptions>({ device: true, seed: true });

/** Largest number of layers. Without a limit, a wrong number would allocate layers until memory is exhausted. */
export const maxLayers = 4096;

/** Device and random streams of a model's layers. */
export interface Place {
  readonly device: Device;
  readonly seeds: Seeds;
}
