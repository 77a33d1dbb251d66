import { StepsizeError } from "../errors.js";
import { arrayOf, type DataType, type Device, type TypedArray } from "../native/index.js";
import type { Tensor } from "../tensor/index.js";
import { type TorchLayout, toTorchOrder } from "../tensor/torch-layout.js";
import { blockBytes } from "./safetensors-file.js";

/** Limit in bytes for values in transit between a device and a file: of several tensors, or of one part of a tensor. */
const maxPendingBytes = 4 * blockBytes;

/** A tensor to write: its type, its shape, and its values in parts. */
export interface Source {
  /** Type of the values. */
  readonly dtype: DataType;
  /** Shape of the tensor in the file. */
  readonly shape: readonly number[];
  /** The parts of the values, in order. Each has its size in bytes and a function that reads it. */
  readonly parts: Iterable<Part>;
}

interface Part {
  readonly bytes: number;
  readonly read: () => TypedArray | Promise<TypedArray>;
}

/** Returns the number of elements of a type in a block. */
function elementsPerBlock(dtype: DataType): number {
  return blockBytes / arrayOf[dtype].BYTES_PER_ELEMENT;
}

/** Returns a source of values in host memory. */
export function hostSource(dtype: DataType, shape: readonly number[], data: TypedArray): Source {
  function* parts(): Generator<Part> {
    const length = elementsPerBlock(dtype);
    for (let first = 0; first < data.length; first += length) {
      const part = data.subarray(first, first + length);
      yield { bytes: part.byteLength, read: () => part };
    }
  }
  return { dtype, shape, parts: { [Symbol.iterator]: parts } };
}

/**
 * Returns a source of a tensor's values, which are read from the device block by block. In another layout than
 * `"same"`, the whole tensor is read at once.
 *
 * @param name for the error message
 * @param shape shape in the file. Default: the tensor's.
 * @param layout layout in the file
 * @throws StepsizeError `invalid-state` when a part is read, if the tensor was written to since this call
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
    const length = elementsPerBlock(dtype);
    for (let first = 0; first < size; first += length) yield part(first, Math.min(length, size - first));
  }
  return { dtype, shape, parts: { [Symbol.iterator]: parts } };
}

/**
 * Yields the parts of all sources, in order. Reads are enqueued ahead, up to 64 MiB, so that the memory for saving does
 * not grow with the state.
 */
export async function* readParts<T>(
  sources: Iterable<readonly [T, Source]>,
): AsyncGenerator<readonly [T, TypedArray], void, undefined> {
  const queue: { readonly key: T; readonly bytes: number; readonly values: Promise<TypedArray> }[] = [];
  let pendingBytes = 0;
  for (const [key, { parts }] of sources)
    for (const { bytes, read } of parts) {
      while (pendingBytes + bytes > maxPendingBytes) {
        const oldest = queue.shift();
        if (oldest === undefined) break;
        yield await finish(oldest);
      }
      const values = (async () => read())();
      // If an earlier read fails, this one is never awaited.
      values.catch(() => {});
      queue.push({ key, bytes, values });
      pendingBytes += bytes;
    }
  for (let oldest = queue.shift(); oldest; oldest = queue.shift()) yield await finish(oldest);

  async function finish({ key, bytes, values }: (typeof queue)[number]): Promise<readonly [T, TypedArray]> {
    const read = await values;
    pendingBytes -= bytes;
    return [key, read];
  }
}

/** Uploads values to tensors in parts. It waits for the device now and then, so that few values are in transit. */
export class Uploads {
  readonly #device: Device;
  #pendingBytes = 0;

  constructor(device: Device) {
    this.#device = device;
  }

  /** Replaces the elements from index `first` on. `data` may be reused when the promise resolves. */
  async write(to: Tensor, first: number, data: TypedArray): Promise<void> {
    const length = elementsPerBlock(to.dtype);
    for (let start = 0; start < data.length; start += length) {
      const part = data.length <= length ? data : data.subarray(start, start + length);
      to.device.native.writePart(to.handle, first + start, part);
      this.#pendingBytes += part.byteLength;
      if (this.#pendingBytes < maxPendingBytes) continue;
      await this.#device.synchronize();
      this.#pendingBytes = 0;
    }
  }
}
