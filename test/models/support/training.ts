import { expect } from "vitest";
import type { Device } from "#lib/native/index.js";
import { type Tensor, tensor } from "#lib/tensor/index.js";
import { relativeError } from "../../optim/support/runs.js";
import { numbers } from "../../support/numbers.js";

/** Decodes base64 into an array of the given type. */
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

/** Expects every gradient to match PyTorch's, relative to its norm. */
export async function expectSameGradients(
  parameters: ReadonlyMap<string, Tensor>,
  torch: ReadonlyMap<string, Tensor>,
  tolerance: number,
): Promise<void> {
  for (const [name, parameter] of parameters) {
    const [got, wanted] = await Promise.all([parameter.grad!.read(), torch.get(name)!.read()]);
    expect(relativeError(got, wanted), name).toBeLessThan(tolerance);
  }
}

/** Expects every gradient to have the given norm and product with hashed numbers, and no others to exist. */
export async function expectGradients(
  parameters: ReadonlyMap<string, Tensor>,
  expected: readonly (readonly [name: string, norm: number, product: number])[],
  tolerance: number,
): Promise<void> {
  expect(expected.map(([name]) => name)).toEqual([...parameters.keys()]);
  const hashed = numbers(Math.max(...[...parameters.values()].map(({ size }) => size)), 99);
  for (const [name, norm, product] of expected) {
    const got = await parameters.get(name)!.grad!.read();
    let [squares, products] = [0, 0];
    for (let i = 0; i < got.length; i++) {
      squares += got[i]! ** 2;
      products += got[i]! * hashed[i]!;
    }
    expect(Math.abs(Math.sqrt(squares) / norm - 1), name).toBeLessThan(tolerance);
    // The numbers are independent of the gradient and below 1. An error e of the gradient changes the product by about
    // ‖e‖/√3.
    expect(Math.abs(products - product) / norm, name).toBeLessThan(tolerance);
  }
}
