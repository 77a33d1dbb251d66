import { Purpose, permutation, philox4x32, words } from "../random.js";
import { elementCount } from "../shapes.js";
import type { Augment } from "./batch.js";
import type { InputArray } from "./items.js";

/** Everything that determines the batches of a source. It is sent to the gathering thread; its arrays are shared. */
export interface GatherPlan {
  /** Inputs of all items of the store. */
  readonly inputs: InputArray;
  readonly itemShape: readonly number[];
  readonly labels: Int32Array | Float32Array;
  /** Number of values per label. */
  readonly labelSize: number;
  /** Indices of the store's items that are used; `undefined` for all. */
  readonly index: Uint32Array | undefined;
  /** Number of items that are used. */
  readonly items: number;
  readonly size: number;
  readonly seed: number;
  readonly shuffle: boolean;
  readonly augment: Augment;
}

/** Identifies a batch of a plan. */
export interface Place {
  readonly epoch: number;
  readonly index: number;
  /** Whether to use the original order without augmentation, for evaluation. */
  readonly plain: boolean;
}

/** Memory that one batch is gathered into. */
export interface Slot {
  readonly inputs: InputArray;
  readonly labels: Int32Array | Float32Array;
  /** Three numbers per item, if images are augmented on the device; see `Batch.moves`. */
  readonly moves?: Int32Array | undefined;
}

/** Gathers the batches of a plan. The calling thread and the gathering thread both use it, so the bits are the same. */
export class Gatherer {
  readonly #plan: GatherPlan;
  readonly #itemSize: number;
  readonly #random = new Uint32Array(4);
  /** Orders of the last two epochs. Around the end of an epoch, prefetching alternates between two. */
  #orders: { epoch: number; order: Uint32Array }[] = [];

  constructor(plan: GatherPlan) {
    this.#plan = plan;
    this.#itemSize = elementCount(plan.itemShape);
  }

  /** Fills a slot with a batch. A short batch fills the front of the slot. */
  gather(place: Place, slot: Slot): void {
    const { index, items, size, labels, labelSize, shuffle } = this.#plan;
    const order = shuffle && !place.plain ? this.#orderOf(place.epoch) : undefined;
    const first = place.index * size;
    const end = Math.min(first + size, items);
    for (let position = first; position < end; position++) {
      const item = order === undefined ? position : order[position]!;
      const stored = index === undefined ? item : index[item]!;
      const to = position - first;
      if (labelSize === 1) slot.labels[to] = labels[stored]!;
      else slot.labels.set(labels.subarray(stored * labelSize, (stored + 1) * labelSize), to * labelSize);
      this.#copyItem(place, item, stored * this.#itemSize, slot, to);
    }
  }

  #copyItem(place: Place, item: number, from: number, { inputs: out, moves }: Slot, position: number): void {
    const { augment, inputs, seed } = this.#plan;
    const to = position * this.#itemSize;
    const image = place.plain ? undefined : augment.image;
    if (!image || moves) out.set(inputs.subarray(from, from + this.#itemSize), to);
    if (!image) return;
    // Each item and epoch uses one block of random numbers, so the crop is the same with and without flipping.
    philox4x32(this.#random, item, Purpose.augmentation, ...words(place.epoch), ...words(seed));
    const [down = 0, across = 0, mirror = 0] = this.#random;
    const shifts = 2 * augment.pad + 1;
    const dy = scale(down, shifts) - augment.pad;
    const dx = scale(across, shifts) - augment.pad;
    const isMirrored = augment.flip && mirror >= 2 ** 31;
    if (moves) {
      moves.set([dy, dx, isMirrored ? 1 : 0], 3 * position);
      return;
    }
    const [height, width, channels] = image;
    copyShifted(inputs, from, out, to, height, width, channels, dy, dx, isMirrored);
  }

  #orderOf(epoch: number): Uint32Array {
    const known = this.#orders.find((entry) => entry.epoch === epoch);
    if (known !== undefined) return known.order;
    const order = permutation(this.#plan.items, this.#plan.seed, epoch);
    this.#orders = [{ epoch, order }, ...this.#orders.slice(0, 1)];
    return order;
  }
}

/** Scales a random word to an integer in [0, n). For the small n of a shift, the bias is negligible. */
function scale(word: number, n: number): number {
  return Math.floor((word * n) / 2 ** 32);
}

/** Copies an image so that pixel (y + dy, x + dx) becomes (y, x), with zeros beyond the edge, and then mirrors it. */
function copyShifted(
  source: InputArray,
  from: number,
  out: InputArray,
  to: number,
  height: number,
  width: number,
  channels: number,
  dy: number,
  dx: number,
  mirror: boolean,
): void {
  out.fill(0, to, to + height * width * channels);
  const firstX = Math.max(0, -dx);
  const endX = Math.min(width, width - dx);
  const lastY = Math.min(height, height - dy);
  for (let y = Math.max(0, -dy); y < lastY; y++) {
    const row = to + y * width * channels;
    let at = from + ((y + dy) * width + firstX + dx) * channels;
    if (mirror) {
      for (let x = firstX; x < endX; x++) {
        const pixel = row + (width - 1 - x) * channels;
        for (let channel = 0; channel < channels; channel++) out[pixel + channel] = source[at++]!;
      }
    } else {
      const last = row + endX * channels;
      for (let pixel = row + firstX * channels; pixel < last; pixel++) out[pixel] = source[at++]!;
    }
  }
}
