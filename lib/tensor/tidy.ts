import { expectFunction } from "../arguments.js";
import { StepsizeError } from "../errors.js";
import { isPlainObject, isPromise } from "../realms.js";
import { openScope, track } from "./scope.js";
import { Tensor } from "./tensor.js";

/**
 * Runs `block` and frees the tensors made in it, except those it returns (alone, in an array or in an object), those
 * that `keep()` was called on, gradients of parameters, and what the returned tensors' graph still needs for
 * `backward()`.
 *
 * @throws StepsizeError `invalid-argument` where the block returns a promise: the tensors it makes later would be lost.
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
      // What leaves this block belongs to the one around it.
      if (made.delete(tensor)) track(tensor);
    }
    return result;
  } finally {
    made ??= close();
    for (const tensor of made) tensor.dispose();
  }
}

/** All tensors that a result holds, and the arrays and objects on the way to them, which may hold themselves. */
function reachable(result: unknown): ReadonlySet<unknown> {
  const found = new Set<unknown>();
  const pending: unknown[] = [result];
  // One by one: as arguments of one call, those of a long array would not fit onto the stack.
  const add = (values: readonly unknown[]) => {
    for (const one of values) pending.push(one);
  };
  while (pending.length > 0) {
    const value = pending.pop();
    if (typeof value !== "object" || value === null || found.has(value)) continue;
    found.add(value);
    if (value instanceof Tensor) {
      const { node, totals } = value;
      if (totals) pending.push(totals.sum, totals.weight);
      // A graph that backward() has walked needs nothing any more.
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
