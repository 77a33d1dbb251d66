import type { Device } from "#lib/native/index.js";
import { type Tensor, tensor } from "#lib/tensor/index.js";

/** Bytes of base64, as elements of a type. */
export function decode<T>(text: string, Elements: new (buffer: ArrayBuffer) => T): T {
  const bytes = Buffer.from(text, "base64");
  return new Elements(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer);
}

/** float32 numbers from their upper halves. */
export function fromBfloat16(halves: Uint16Array): Float32Array {
  return new Float32Array(Uint32Array.from(halves, (half) => half * 2 ** 16).buffer);
}

/** Cuts one array into tensors of these names and shapes. */
export function unpack(
  device: Device,
  values: Float32Array,
  parameters: readonly (readonly [string, readonly number[]])[],
): Map<string, Tensor> {
  let at = 0;
  const named = parameters.map(([name, shape]): [string, Tensor] => {
    const size = shape.reduce((product, length) => product * length, 1);
    at += size;
    return [name, tensor(device, values.slice(at - size, at), shape)];
  });
  if (at !== values.length) throw new Error(`${values.length} values for parameters of ${at}`);
  return new Map(named);
}

/** The largest |got/expected − 1| of two lists of equal length. */
export function worstRatio(got: readonly number[], expected: readonly number[]): number {
  if (got.length !== expected.length) return Number.POSITIVE_INFINITY;
  const errors = got.map((value, i) => Math.abs(value / expected[i]! - 1));
  return errors.some(Number.isNaN) ? Number.POSITIVE_INFINITY : Math.max(...errors);
}
