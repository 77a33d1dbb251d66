import type { Device } from "../native/index.js";
import type { Seeds } from "../nn/index.js";
import { optionNames } from "../options.js";

/** Where a model is made, and what its weights are drawn from. */
export interface PlaceOptions {
  readonly device: Device;
  /** A safe integer of at least 0; default 0. */
  readonly seed?: number;
}

export const placeNames = optionNames<PlaceOptions>({ device: true, seed: true });

/** More layers than anybody trains: a model of more would be made, part by part, until memory ends. */
export const mostLayers = 4096;

/** Where the layers of a model live and what their weights are drawn from. */
export interface Place {
  readonly device: Device;
  readonly seeds: Seeds;
}
