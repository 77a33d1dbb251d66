import type { Device } from "../native/index.js";
import type { Seeds } from "../nn/index.js";

/** Where the layers of a model live and what their weights are drawn from. */
export interface Place {
  readonly device: Device;
  readonly seeds: Seeds;
}
