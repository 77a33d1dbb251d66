import type { Tensor } from "./tensor.js";

/** Parameters that no module has listed yet and no optimizer was given. */
const unclaimed = new WeakSet<Tensor>();

/** By a leaf that is claimed: an unclaimed one that a gradient reached in the same backward pass. */
const strangers = new WeakMap<Tensor, Tensor>();

/** Whether there ever was one, so that the ordinary step pays nothing. */
let found = false;

/** @internal A parameter was made. Whoever trains it claims it: a module that lists it, or an optimizer. */
export function awaitClaim(parameter: Tensor): void {
  unclaimed.add(parameter);
}

/** @internal */
export function claim(parameter: Tensor): void {
  unclaimed.delete(parameter);
}

/** @internal A backward pass left gradients on these. */
export function noteLeaves(leaves: ReadonlySet<Tensor>): void {
  let stranger: Tensor | undefined;
  for (const leaf of leaves) if (unclaimed.has(leaf)) stranger = leaf;
  if (stranger === undefined) return;
  found = true;
  for (const leaf of leaves) if (!unclaimed.has(leaf)) strangers.set(leaf, stranger);
}

/**
 * @internal A parameter that got its gradient from the same loss as one of these, and that nobody trains: it is part of
 * the model, but hidden where its module does not look.
 */
export function strangerBeside(slots: readonly { readonly parameter: object }[]): Tensor | undefined {
  if (!found) return undefined;
  for (const { parameter } of slots) {
    const stranger = strangers.get(parameter as Tensor);
    // A gradient that is gone was taken care of, by an update by hand.
    if (stranger?.grad && unclaimed.has(stranger)) return stranger;
  }
  return undefined;
}
