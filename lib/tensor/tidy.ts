import { expectFunction } from "../arguments.js";
import { StepsizeError } from "../errors.js";
import { isPlainObject, isPromise } from "../realms.js";
import { openScope, track } from "./scope.js";
import { Tensor } from "./tensor.js";

/**
 * Runs a function and disposes of the tensors that were made in it.
 *
 * It keeps the tensors that the function returns (alone, or in arrays and plain objects), tensors on which `keep()` was
 * called, gradients of parameters, and everything that the graph of a returned tensor needs for `backward()`.
 *
 * @returns the result of `block`
 * @throws StepsizeError `invalid-argument` if `block` is not a function or returns a promise, because tensors that it
 * makes later would not be disposed
 *
 * @example
 * ```ts
 * import { openDevice, tensor, tidy } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const x = tensor(device, [1, 2, 3]);
 * const y = tidy(() => x.square().add(1).sqrt()); // only y stays, the intermediate results are disposed
 * ```
 */
export function tidy<T>(block: () => T): T {
  expectFunction("block", block);
  const close = openScope();
  let made: Set<Tensor> | undefined;
  try {
    const result = block();
    made = close();
    if (isPromise(result))
      throw new StepsizeError("invalid-argument", "tidy: expected a function that returns at once, got a promise");
    for (const tensor of reachable(result)) {
      if (!(tensor instanceof Tensor)) continue;
      // A returned tensor belongs to the surrounding block.
      if (made.delete(tensor)) track(tensor);
    }
    return result;
  } finally {
    made ??= close();
    for (const tensor of made) tensor.dispose();
  }
}

/** Returns all tensors in a result, and the arrays and objects that contain them. Cyclic references are allowed. */
function reachable(result: unknown): ReadonlySet<unknown> {
  const found = new Set<unknown>();
  const pending: unknown[] = [result];
  // Pushed one by one: `push(...values)` would overflow the stack for a long array.
  const add = (values: readonly unknown[]) => {
    for (const value of values) pending.push(value);
  };
  while (pending.length > 0) {
    const value = pending.pop();
    if (typeof value !== "object" || value === null || found.has(value)) continue;
    found.add(value);
    if (value instanceof Tensor) {
      const { node, totals } = value;
      if (totals) pending.push(totals.sum, totals.weight);
      // A released graph needs no tensors.
      if (!node || node.released) continue;
      add(node.inputs);
      add(node.extras);
      for (const { tensor } of node.saved) pending.push(tensor);
    } else if (Array.isArray(value)) {
      add(value);
    } else if (isPlainObject(value)) {
      add(Object.values(value));
    }
  }
  return found;
}
