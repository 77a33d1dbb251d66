import type { Tensor } from "./tensor.js";

/**
 * Which tensors the innermost `tidy` block has made so far. Kept apart from `tidy` itself, which needs the graph:
 * tensors only report here that they exist.
 */
let current: Set<Tensor> | undefined;

/** @internal */
export function track(tensor: Tensor): void {
  current?.add(tensor);
}

/** @internal */
export function untrack(tensor: Tensor): void {
  current?.delete(tensor);
}

/** @internal Opens a scope; the function returned closes it and tells what was made inside. */
export function openScope(): () => Set<Tensor> {
  const outer = current;
  const own = new Set<Tensor>();
  current = own;
  return () => {
    current = outer;
    return own;
  };
}
