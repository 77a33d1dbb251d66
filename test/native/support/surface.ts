// The addon's interface without types, so that tests can make invalid calls.
import { findAddon } from "#lib/native/index.js";

/** Any value or function. */
// biome-ignore lint/suspicious/noExplicitAny: tests pass values that the types forbid
export type Anything = any;

/** The addon that the environment names, or the CPU's. */
export const addon: Anything = findAddon(process.env["STEPSIZE_TEST_ADDON"] ?? "cpu").addon;

/** Options of a device. A GPU has no option for threads. */
export const options = (threads: number): object => (addon.backend === "cpu" ? { threads } : {});

/** Opens a device with a memory limit, so that wrong calls cannot use more memory or time than a test has. */
export function openSmall(): Anything {
  return new addon.NativeDevice({ ...options(2), memoryLimit: 32e6 });
}

export function floats(device: Anything, shape: readonly number[], value = 1): Anything {
  const count = shape.reduce((product, size) => product * size, 1);
  return device.create("float32", shape, new Float32Array(count).fill(value));
}

export function id(operation: string): number {
  return addon.operations.indexOf(operation);
}

/** Fails unless the device still computes: 2 · 3 summed over a row of five. */
export async function expectUsable(device: Anything): Promise<void> {
  const [product] = device.enqueue(id("matmul"), [floats(device, [1, 5], 2), floats(device, [5, 1], 3)]);
  const result = await device.read(product);
  if (result[0] !== 30) throw new Error(`2 · 3 · 5 became ${result[0]}`);
}

/** A list of tensors, arrays or pointers. */
export function listOf(device: Anything, tensors: readonly Anything[], places?: Int32Array): Anything {
  const list = device.list();
  list.set(tensors, places);
  return list;
}
