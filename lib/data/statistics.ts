import { isUint8Array } from "../realms.js";
import { elementCount } from "../shapes.js";
import type { Inputs } from "./items.js";

/** Mean and population standard deviation of each channel. */
export interface Statistics {
  /** Mean of each channel. */
  readonly mean: readonly number[];
  /** Population standard deviation of each channel. */
  readonly std: readonly number[];
}

/**
 * Computes the mean and the population standard deviation of each channel, over all items or those in `index`. A channel
 * is an index of the last axis. uint8 values are divided by 255; other types are used unchanged.
 */
export function statisticsOf(inputs: Inputs, index: Uint32Array | undefined): Statistics {
  const channels = inputs.shape.at(-1) ?? 1;
  const itemSize = elementCount(inputs.shape);
  const items = index?.length ?? inputs.data.length / itemSize;
  const startOf = (i: number) => (index === undefined ? i : index[i]!) * itemSize;
  const { data } = inputs;
  return isUint8Array(data)
    ? ofBytes(data, channels, itemSize, items, startOf)
    : ofNumbers(data, channels, itemSize, items, startOf);
}

type StartOf = (i: number) => number;

/** Computes exact statistics from the frequencies of the 256 values. */
function ofBytes(data: Uint8Array, channels: number, itemSize: number, items: number, startOf: StartOf): Statistics {
  const counts = new Float64Array(channels * 256);
  for (let i = 0; i < items; i++) {
    for (let at = startOf(i), end = at + itemSize; at < end; ) {
      for (let channel = 0; channel < channels; channel++) counts[channel * 256 + data[at++]!]! += 1;
    }
  }
  const total = (items * itemSize) / channels;
  const mean: number[] = [];
  const std: number[] = [];
  for (let channel = 0; channel < channels; channel++) {
    const frequencies = counts.subarray(channel * 256, channel * 256 + 256);
    const middle = frequencies.reduce((sum, times, value) => sum + times * value, 0) / total;
    const variance = frequencies.reduce((sum, times, value) => sum + times * (value - middle) ** 2, 0) / total;
    mean.push(middle / 255);
    std.push(Math.sqrt(variance) / 255);
  }
  return { mean, std };
}

function ofNumbers(
  data: Float32Array | Int32Array,
  channels: number,
  itemSize: number,
  items: number,
  startOf: StartOf,
): Statistics {
  const total = (items * itemSize) / channels;
  const mean = new Array<number>(channels).fill(0);
  const variance = new Array<number>(channels).fill(0);
  // A second pass sums squares around the mean. Squares around zero would cancel if the mean is large.
  for (let i = 0; i < items; i++) {
    const start = startOf(i);
    for (let k = 0; k < itemSize; k++) mean[k % channels]! += data[start + k]! / total;
  }
  for (let i = 0; i < items; i++) {
    const start = startOf(i);
    for (let k = 0; k < itemSize; k++) variance[k % channels]! += (data[start + k]! - mean[k % channels]!) ** 2 / total;
  }
  return { mean, std: variance.map(Math.sqrt) };
}
