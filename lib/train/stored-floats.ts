import { bfloat16Value } from "../tensor/bfloat16.js";
import type { StoredTensor } from "./safetensors-file.js";

/** An aligned copy of the bytes, as elements of a type. */
function elements<T>({ bytes }: StoredTensor, Elements: new (buffer: ArrayBuffer) => T): T {
  return new Elements(bytes.slice().buffer as ArrayBuffer);
}

/** The number that 16 bits stand for in IEEE 754's half precision. */
function halfValue(bits: number): number {
  const exponent = (bits >>> 10) & 31;
  const fraction = bits & 1023;
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}

const readers = new Map<string, (stored: StoredTensor) => Float32Array>([
  ["F32", (stored) => elements(stored, Float32Array)],
  ["F16", (stored) => Float32Array.from(elements(stored, Uint16Array), halfValue)],
  ["BF16", (stored) => Float32Array.from(elements(stored, Uint16Array), bfloat16Value)],
  ["F64", (stored) => Float32Array.from(elements(stored, Float64Array))],
]);

/** The format's names of the types that {@link float32Of} reads. */
export const floatCodes: readonly string[] = [...readers.keys()];

/** The values of a tensor of one of {@link floatCodes}; those of float64 are rounded. */
export function float32Of(stored: StoredTensor): Float32Array {
  return (readers.get(stored.code) as (stored: StoredTensor) => Float32Array)(stored);
}
