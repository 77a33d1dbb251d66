import type { DataType } from "./data-type.js";

/**
 * The conversion of raw items to inputs of a model, (x·scale − mean)/std per channel, as plain JSON. A dataset suggests
 * it, `nn.Preprocessing` computes it on the device, and a model card saves it with the model.
 */
export interface PreprocessingOptions {
  /** Shape of one raw item, such as [28, 28, 1]. Its last axis is the channels. */
  readonly shape: readonly number[];
  /** Type of the raw values. */
  readonly dtype: DataType;
  /** Factor of the raw values, applied first: 1/255 for bytes. */
  readonly scale: number;
  /** Mean of the scaled values, per channel (the last axis). */
  readonly mean: readonly number[];
  /** Standard deviation of the scaled values, per channel. A value that is not above 0 counts as 1. */
  readonly std: readonly number[];
}
