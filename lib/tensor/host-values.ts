import type { TypedArray } from "../native/addon.js";
import type { Tensor } from "./tensor.js";

const copies = new WeakMap<Tensor, { readonly values: TypedArray; readonly version: number }>();

/** Keeps a copy of the values that a tensor was made of, for {@link hostValues}. */
export function rememberValues(tensor: Tensor, values: TypedArray): void {
  copies.set(tensor, { values: values.slice(), version: tensor.handle.version });
}

/** The values of a tensor without waiting for its device, if the host gave them and nothing was written since. */
export function hostValues(tensor: Tensor): TypedArray | undefined {
  const copy = copies.get(tensor);
  return copy && !tensor.disposed && tensor.handle.version === copy.version ? copy.values : undefined;
}
