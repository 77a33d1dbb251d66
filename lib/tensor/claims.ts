import type { Tensor } from "./tensor.js";

/** Parameters that no module has listed and no optimizer has been given. */
const unclaimed = new WeakSet<Tensor>();

/** For a claimed leaf, an unclaimed parameter that got its gradient in the same backward pass. */
const strangers = new WeakMap<object, Tensor>();

/** Whether `strangers` ever had an entry. Without one, a step does not search. */
let found = false;

/** @internal Notes that a parameter was made. A module that lists it, or an optimizer that gets it, claims it. */
export function awaitClaim(parameter: Tensor): void {
  unclaimed.add(parameter);
}

/** @internal Notes that a module or an optimizer has a parameter. */
export function claim(parameter: Tensor): void {
  unclaimed.delete(parameter);
}

/** @internal Notes the leaves that got gradients in one backward pass. */
export function noteLeaves(leaves: ReadonlySet<Tensor>): void {
  let stranger: Tensor | undefined;
  for (const leaf of leaves) if (unclaimed.has(leaf)) stranger = leaf;
  if (stranger === undefined) return;
  found = true;
  for (const leaf of leaves) if (!unclaimed.has(leaf)) strangers.set(leaf, stranger);
}

/**
 * @internal Returns an unclaimed parameter that got its gradient in the same backward pass as one of these. It is part
 * of the model, but its module cannot find it, so it would be neither trained nor saved.
 */
export function strangerBeside(slots: readonly { readonly parameter: object }[]): Tensor | undefined {
  if (!found) return undefined;
  for (const { parameter } of slots) {
    const stranger = strangers.get(parameter);
    // If its gradient is gone, the caller has updated it manually.
    if (stranger?.grad && unclaimed.has(stranger)) return stranger;
  }
  return undefined;
}
