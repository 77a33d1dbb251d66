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
      // What leaves this block belongs to the one around it.
      if (made.delete(tensor)) track(tensor);
    }
    return result;
  } finally {
    made ??= close();
    for (const tensor of made) tensor.dispose();
  }
}

function reachable(result: unknown): Set<Tensor> {
  const found = new Set<Tensor>();
  const pending: unknown[] = [result];
  while (pending.length > 0) {
    const value = pending.pop();
    if (value instanceof Tensor) {
      if (found.has(value)) continue;
      found.add(value);
      const { node, totals } = value;
      if (totals) pending.push(totals.sum, totals.weight);
      // A graph that backward() has walked needs nothing any more.
      if (node && !node.released)
        pending.push(...node.inputs, ...node.extras, ...node.saved.map(({ tensor }) => tensor));
    } else if (Array.isArray(value)) {
      pending.push(...value);
    } else if (isPlainObject(value)) {
      pending.push(...Object.values(value));
    }
  }
  return found;
}
