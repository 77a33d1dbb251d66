import { invalidArgument } from "./errors.js";

/** The most arrays in each other: more than any tensor has axes, and few enough to walk. */
const deepest = 16;

/** The most numbers in nested arrays: their own memory, of 8 bytes and more each, ends before. */
const mostNumbers = 2 ** 28;

/**
 * The shape of numbers in arrays in arrays, by the first item of each level.
 *
 * @param name what the argument is called
 * @throws StepsizeError `invalid-argument` for arrays that are too deep, as one that holds itself is, or too large
 */
export function nestedShape(name: string, given: unknown): number[] {
  const shape: number[] = [];
  let numbers = 1;
  for (let level: unknown = given; Array.isArray(level); level = level[0]) {
    if (shape.length === deepest) invalidArgument(name, `at most ${deepest} arrays in each other`, given);
    shape.push(level.length);
    numbers *= level.length;
    if (numbers > mostNumbers)
      invalidArgument(name, `at most ${mostNumbers} numbers in arrays; a typed array takes more`, given);
  }
  return shape;
}
