import { StepsizeError } from "../errors.js";
import { shown, someOf } from "../quoting.js";
import type { Tensor } from "../tensor/index.js";
import type { Keeper, Slot } from "./slots.js";

/** Type and shape of a saved tensor, known before its values are read. */
export type Described = Pick<Tensor, "dtype" | "shape">;

/** The tensors of the optimizer into which the tensors of a saved state are copied. */
export interface StatePlaces {
  /** The target of each name. `tensor()` may be called only after `Keeper.keep` has made the parameter's state. */
  readonly expected: ReadonlyMap<string, { readonly tensor: () => Tensor }>;
  /** The parameters without saved state, because they had no gradient when it was saved. Their state is reset. */
  readonly unused: readonly Slot[];
}

/**
 * Finds the target of each tensor of a saved state. Changes nothing.
 *
 * @param saved the saved state by name
 * @param counters the optimizer's `state` and `updates`
 * @throws StepsizeError `invalid-file` if a name is missing or unknown, or a shape or a type differs
 */
export function placesOf(
  saved: ReadonlyMap<string, Described>,
  counters: { readonly state: Tensor; readonly updates: Tensor },
  slots: readonly Slot[],
  keeper: Keeper,
): StatePlaces {
  const problems: string[] = [];
  const expected = new Map<string, { tensor: () => Tensor; shape: readonly number[]; dtype: string }>();
  for (const [name, tensor] of Object.entries(counters))
    expected.set(name, { tensor: () => tensor, shape: tensor.shape, dtype: tensor.dtype });
  const unused: Slot[] = [];
  for (const slot of slots) {
    const names = keeper.names.map((kept) => `${slot.key}.${kept}`);
    names.forEach((name, i) => {
      expected.set(name, { tensor: () => slot.kept[i] as Tensor, shape: slot.shape, dtype: keeper.typeOf(i) });
    });
    const missing = names.filter((name) => !saved.has(name));
    if (missing.length === names.length) unused.push(slot);
    else for (const name of missing) problems.push(`${name} is missing`);
  }
  for (const [name, tensor] of saved) {
    const like = expected.get(name);
    if (!like) problems.push(`${shown(name)} is not part of this optimizer`);
    else if (sizeOf(like.shape) !== sizeOf(tensor.shape))
      problems.push(`${name} has ${sizeOf(tensor.shape)} values, expected ${sizeOf(like.shape)}`);
    else if (String(like.shape) !== String(tensor.shape))
      problems.push(`${name} is [${tensor.shape}], expected [${like.shape}]`);
    else if (like.dtype !== tensor.dtype) problems.push(`${name} is ${tensor.dtype}, expected ${like.dtype}`);
  }
  if (!saved.has("state")) problems.push("state is missing");
  if (problems.length > 0)
    throw new StepsizeError("invalid-file", `the state does not fit the optimizer: ${someOf(problems)}`);
  return { expected, unused };
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}
