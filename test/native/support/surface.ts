// The addon's surface as a test calls it: no types to hold anything back.
import { findAddon } from "#lib/native/index.js";

/** Anything that is called. */
// biome-ignore lint/suspicious/noExplicitAny: the point is to pass what the types forbid
export type Anything = any;

/** The one that the environment names, or the CPU's. */
export const addon: Anything = findAddon(process.env["STEPSIZE_TEST_ADDON"] ?? "cpu").addon;

/** Options of a device; a GPU knows no threads. */
export const options = (threads: number): object => (addon.backend === "cpu" ? { threads } : {});

/** A device whose kernels cannot take more memory or time than a test has. */
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
