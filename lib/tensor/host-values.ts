import type { TypedArray } from "../native/addon.js";
import type { Tensor } from "./tensor.js";

const copies = new WeakMap<Tensor, { readonly values: TypedArray; readonly version: number }>();

/** Stores a copy of the values from which a tensor was made, for {@link hostValues}. */
export function rememberValues(tensor: Tensor, values: TypedArray): void {
  copies.set(tensor, { values: values.slice(), version: tensor.handle.version });
}

/** Returns the values of a tensor without a read, if the host gave them and they were not overwritten since. */
export function hostValues(tensor: Tensor): TypedArray | undefined {
  const copy = copies.get(tensor);
  return copy && !tensor.disposed && tensor.handle.version === copy.version ? copy.values : undefined;
}
