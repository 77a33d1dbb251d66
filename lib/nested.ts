import { invalidArgument } from "./errors.js";

/** Largest nesting of arrays. Tensors have fewer axes. */
const maxAxes = 16;

/** Largest number of values in nested arrays, which take at least 8 bytes each. */
const maxNumbers = 2 ** 28;

/**
 * Returns the shape of nested arrays of numbers, from the first item of each level. The other items are not checked.
 *
 * @param name name of the argument
 * @throws StepsizeError `invalid-argument` if the nesting is too deep, for example cyclic, or if there are too many
 * values
 */
export function nestedShape(name: string, given: unknown): number[] {
  const shape: number[] = [];
  let numbers = 1;
  for (let level: unknown = given; Array.isArray(level); level = level[0]) {
    if (shape.length === maxAxes) invalidArgument(name, `at most ${maxAxes} arrays in each other`, given);
    shape.push(level.length);
    numbers *= level.length;
    if (numbers > maxNumbers)
      invalidArgument(name, `at most ${maxNumbers} numbers in arrays; a typed array takes more`, given);
  }
  return shape;
}
