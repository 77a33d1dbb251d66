import { valueAt } from "../lookup.js";
import { arrayOf, type TypedArray } from "../native/index.js";
import { bfloat16Bits, bfloat16Value } from "../tensor/bfloat16.js";
import type { Tensor } from "../tensor/index.js";
import { fromTorchOrder, type TorchLayout } from "../tensor/torch-layout.js";
import type { Uploads } from "./device-parts.js";
import type { StoredTensor } from "./safetensors-file.js";

/** Returns the value of 16 bits in IEEE 754 half precision. */
function halfValue(bits: number): number {
  const exponent = (bits >>> 10) & 31;
  const fraction = bits & 1023;
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}

interface ElementsClass<T extends TypedArray> {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBuffer, at: number, length: number): T;
}

/** Returns aligned bytes as elements of a type, in the same memory. */
function elements<T extends TypedArray>(
  { buffer, byteOffset, byteLength }: Uint8Array<ArrayBuffer>,
  Elements: ElementsClass<T>,
): T {
  return new Elements(buffer, byteOffset, byteLength / Elements.BYTES_PER_ELEMENT);
}

const readers = new Map<string, (bytes: Uint8Array<ArrayBuffer>) => Float32Array>([
  ["F32", (bytes) => elements(bytes, Float32Array)],
  ["F16", (bytes) => Float32Array.from(elements(bytes, Uint16Array), halfValue)],
  ["BF16", (bytes) => Float32Array.from(elements(bytes, Uint16Array), bfloat16Value)],
  ["F64", (bytes) => Float32Array.from(elements(bytes, Float64Array))],
]);

/** Types that {@link fillFloats} reads, as the format names them. */
export const floatCodes: readonly string[] = [...readers.keys()];

/**
 * Returns the values of a part of a tensor as float32, rounded if they are float64. The result may share memory with
 * `bytes`.
 */
function float32Of(code: string, bytes: Uint8Array<ArrayBuffer>): Float32Array {
  return valueAt(readers, code)(bytes);
}

/**
 * Returns the values of a whole tensor whose type is one of {@link floatCodes}.
 *
 * @throws StepsizeError `invalid-file` if the values cannot be read or do not match their checksum; `out-of-memory`
 */
export async function readFloats(stored: StoredTensor): Promise<Float32Array> {
  return float32Of(stored.code, await stored.read());
}

/**
 * Fills a float32 or bfloat16 tensor with stored values of one of {@link floatCodes}, block by block. In another layout
 * than `"same"`, all values are read at once.
 *
 * @throws StepsizeError `invalid-file` if the values do not match their checksum. The tensor has changed then.
 */
export async function fillFloats(
  uploads: Uploads,
  to: Tensor,
  stored: StoredTensor,
  layout: TorchLayout = "same",
): Promise<void> {
  const typed = (values: Float32Array) => (to.dtype === "bfloat16" ? Uint16Array.from(values, bfloat16Bits) : values);
  if (layout !== "same") {
    const values = typed(await readFloats(stored));
    return await uploads.write(to, 0, fromTorchOrder(values, to.shape, layout));
  }
  let first = 0;
  for await (const block of stored.blocks()) {
    const isSame = stored.code === "BF16" && to.dtype === "bfloat16";
    const values = isSame ? elements(block, Uint16Array) : typed(float32Of(stored.code, block));
    await uploads.write(to, first, values);
    first += values.length;
  }
}

/**
 * Fills a tensor with stored values of the same type and size, block by block.
 *
 * @throws StepsizeError `invalid-file` if the values do not match their checksum. The tensor has changed then.
 */
export async function fillSame(uploads: Uploads, to: Tensor, stored: StoredTensor): Promise<void> {
  let first = 0;
  for await (const block of stored.blocks()) {
    const values = elements<TypedArray>(block, arrayOf[to.dtype]);
    await uploads.write(to, first, values);
    first += values.length;
  }
}
