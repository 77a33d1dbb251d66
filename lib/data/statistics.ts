import { isUint8Array } from "../realms.js";
import { count, type Inputs, type InputType } from "./items.js";

/** The mean and the standard deviation of each channel. */
export interface Statistics {
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** How raw items become inputs of a model: (x·scale − mean)/std per channel. Plain JSON. */
export interface Preprocessing extends Statistics {
  /** Shape of one item. */
  readonly shape: readonly number[];
  readonly dtype: InputType;
  /** Raw values are multiplied by this first: 1/255 for bytes. */
  readonly scale: number;
}

/**
 * Mean and standard deviation (of the population) over the items `index` names, or all. A channel is an index of the
 * last dimension. uint8 counts as 0 … 1, that is divided by 255; other types as they are.
 */
export function statisticsOf(inputs: Inputs, index: Uint32Array | undefined): Statistics {
  const channels = inputs.shape.at(-1) ?? 1;
  const itemSize = count(inputs.shape);
  const items = index?.length ?? inputs.data.length / itemSize;
  const startOf = (i: number) => (index === undefined ? i : index[i]!) * itemSize;
  const { data } = inputs;
  return isUint8Array(data)
    ? ofBytes(data, channels, itemSize, items, startOf)
    : ofNumbers(data, channels, itemSize, items, startOf);
}

type StartOf = (i: number) => number;

/** Exact, from how often each of the 256 values occurs. */
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
    const own = counts.subarray(channel * 256, channel * 256 + 256);
    const middle = own.reduce((sum, times, value) => sum + times * value, 0) / total;
    const variance = own.reduce((sum, times, value) => sum + times * (value - middle) ** 2, 0) / total;
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
  // Two passes: squares summed around zero would cancel where the mean is large against the spread.
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
