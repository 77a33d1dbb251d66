import { StepsizeError } from "../errors.js";
import { arrayOf, type DataType, type Device, type TypedArray } from "../native/index.js";
import type { Tensor } from "../tensor/index.js";
import { type TorchLayout, toTorchOrder } from "../tensor/torch-layout.js";
import { blockBytes } from "./safetensors-file.js";

/** Bytes that may be under way between a device and a file at once, several tensors' or one part of one. */
const mostUnderWay = 4 * blockBytes;

/** A tensor to be written: its type and shape, and its values part after part. */
export interface Source {
  readonly dtype: DataType;
  readonly shape: readonly number[];
  /** The parts of the values, in order: how many bytes each has, and what reads it. */
  readonly parts: Iterable<Part>;
}

interface Part {
  readonly bytes: number;
  readonly read: () => TypedArray | Promise<TypedArray>;
}

/** Elements of a type in a block. */
function elementsPerBlock(dtype: DataType): number {
  return blockBytes / arrayOf[dtype].BYTES_PER_ELEMENT;
}

/** Values that are in the host's memory already. */
export function hostSource(dtype: DataType, shape: readonly number[], data: TypedArray): Source {
  function* parts(): Generator<Part> {
    const most = elementsPerBlock(dtype);
    for (let first = 0; first < data.length; first += most) {
      const part = data.subarray(first, first + most);
      yield { bytes: part.byteLength, read: () => part };
    }
  }
  return { dtype, shape, parts: { [Symbol.iterator]: parts } };
}

/**
 * A tensor's values, read from the device block by block; of another layout than ours the whole tensor at once.
 *
 * @param name for the error if the tensor is written to while it is read
 */
export function deviceSource(
  name: string,
  tensor: Tensor,
  shape: readonly number[] = tensor.shape,
  layout: TorchLayout = "same",
): Source {
  const { device, dtype, handle, size } = tensor;
  const { version } = handle;
  const width = arrayOf[dtype].BYTES_PER_ELEMENT;
  const expectUntouched = () => {
    if (handle.version === version) return;
    throw new StepsizeError(
      "invalid-state",
      `${name} was changed while it was being written; await the saving before the next step`,
    );
  };
  const part = (first: number, count: number): Part => ({
    bytes: count * width,
    read: () => {
      expectUntouched();
      return device.promised(() => device.native.readPart(handle, first, count));
    },
  });
  const whole = async () => {
    expectUntouched();
    return toTorchOrder(await tensor.read(), tensor.shape, layout);
  };
  function* parts(): Generator<Part> {
    if (layout !== "same") return yield { bytes: size * width, read: whole };
    const most = elementsPerBlock(dtype);
    for (let first = 0; first < size; first += most) yield part(first, Math.min(most, size - first));
  }
  return { dtype, shape, parts: { [Symbol.iterator]: parts } };
}

/**
 * The parts of all sources, in order. Reads are asked for ahead, but never so many that more than 64 MiB are under way:
 * the memory that saving takes does not grow with the state.
 */
export async function* readParts<T>(
  sources: Iterable<readonly [T, Source]>,
): AsyncGenerator<readonly [T, TypedArray], void, undefined> {
  const queue: { readonly key: T; readonly bytes: number; readonly values: Promise<TypedArray> }[] = [];
  let underWay = 0;
  for (const [key, { parts }] of sources)
    for (const { bytes, read } of parts) {
      while (queue.length > 0 && underWay + bytes > mostUnderWay) yield await first();
      const values = (async () => read())();
      // If an earlier one fails nobody waits for it.
      values.catch(() => {});
      queue.push({ key, bytes, values });
      underWay += bytes;
    }
  while (queue.length > 0) yield await first();

  async function first(): Promise<readonly [T, TypedArray]> {
    const { key, bytes, values } = queue.shift() as (typeof queue)[number];
    const read = await values;
    underWay -= bytes;
    return [key, read];
  }
}

/** Writes values to tensors of a device part by part, and waits for it now and then, so that few are under way. */
export class Uploads {
  readonly #device: Device;
  #underWay = 0;

  constructor(device: Device) {
    this.#device = device;
  }

  /** Replaces the elements from `first` on. The data may be used otherwise when the promise resolves. */
  async write(to: Tensor, first: number, data: TypedArray): Promise<void> {
    const most = elementsPerBlock(to.dtype);
    for (let start = 0; start < data.length; start += most) {
      const part = data.length <= most ? data : data.subarray(start, start + most);
      to.device.native.writePart(to.handle, first + start, part);
      this.#underWay += part.byteLength;
      if (this.#underWay < mostUnderWay) continue;
      await this.#device.synchronize();
      this.#underWay = 0;
    }
  }
}
