import type { Tensor } from "./tensor.js";

/**
 * The tensors that were made in the innermost `tidy` block so far. This file is separate from `tidy.ts`, which imports
 * the class `Tensor`, because the class itself uses these functions.
 */
let current: Set<Tensor> | undefined;

/** @internal Adds a tensor to the innermost scope. */
export function track(tensor: Tensor): void {
  current?.add(tensor);
}

/** @internal Removes a tensor from the innermost scope. */
export function untrack(tensor: Tensor): void {
  current?.delete(tensor);
}

/** @internal Opens a scope. The returned function closes it and returns the tensors that were made inside. */
export function openScope(): () => Set<Tensor> {
  const outer = current;
  const made = new Set<Tensor>();
  current = made;
  return () => {
    current = outer;
    return made;
  };
}
