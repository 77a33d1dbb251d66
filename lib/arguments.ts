import { invalidArgument } from "./errors.js";
import { isObject } from "./realms.js";

// Checks of arguments. Each throws `invalid-argument` with the name of the argument. The names of options are checked
// in options.ts.

/**
 * Returns whether a value is an array whose items all pass a test. An empty slot of a sparse array is tested as
 * `undefined`. (`every` would skip empty slots, slowly for a `new Array(2 ** 32 - 1)`.)
 */
export function isListOf<T>(value: unknown, accepts: (item: unknown, i: number) => item is T): value is readonly T[];
export function isListOf(value: unknown, accepts: (item: unknown, i: number) => boolean): boolean;
export function isListOf(value: unknown, accepts: (item: unknown, i: number) => boolean): boolean {
  if (!Array.isArray(value)) return false;
  for (let i = 0; i < value.length; i++) if (!accepts(value[i], i)) return false;
  return true;
}

/** Returns whether a value is a safe integer. The result narrows the type, unlike that of `Number.isSafeInteger`. */
export function isSafeInteger(value: unknown): value is number {
  return Number.isSafeInteger(value);
}

/** Checks that a value is an object but not an array. */
export function expectObject(name: string, value: unknown, expected = "an object of options"): void {
  if (!isObject(value)) invalidArgument(name, expected, value);
}

/** Checks that a value is a function. */
export function expectFunction(name: string, value: unknown, expected = "a function"): void {
  if (typeof value !== "function") invalidArgument(name, expected, value);
}

/** Checks that a value is an object with these methods. `expected` describes it in the error message. */
export function expectMethods(name: string, value: unknown, methods: readonly string[], expected: string): void {
  if (!isObject(value) || !methods.every((method) => typeof value[method] === "function"))
    invalidArgument(name, expected, value);
}

/** Checks that a value is a string that is not empty. */
export function expectText(name: string, value: unknown, expected: string): void {
  if (typeof value !== "string" || value === "") invalidArgument(name, expected, value);
}

/** Checks that a value is an AbortSignal or `undefined`. */
export function expectSignal(name: string, value: unknown): void {
  if (value === undefined) return;
  expectMethods(name, value, ["throwIfAborted", "addEventListener", "removeEventListener"], "an AbortSignal");
}

/** Checks that a value is a shape: an array of whole numbers ≥ 0. */
export function expectShape(name: string, value: unknown): void {
  const isSize = (size: unknown) => isSafeInteger(size) && size >= 0;
  if (!isListOf(value, isSize)) invalidArgument(name, "an array of whole numbers ≥ 0", value);
}

interface Shapes {
  readonly 3: readonly [number, number, number];
  readonly 4: readonly [number, number, number, number];
}

/** Returns whether a shape has a number of axes. */
export function hasAxes<Axes extends keyof Shapes>(shape: readonly number[], axes: Axes): shape is Shapes[Axes] {
  return shape.length === axes;
}

/** Checks that a value is a finite number. */
export function expectFinite(name: string, value: unknown): void {
  if (!Number.isFinite(value)) invalidArgument(name, "a finite number", value);
}

/** Checks that a value is a Map of tensors by name, as `stateDict()` returns it. */
export function expectState(name: string, value: unknown): void {
  expectMethods(name, value, ["get", "has", "keys", "entries"], "a Map of tensors by name, as stateDict() gives it");
}

/** Checks that a value is a module. */
export function expectModule(name: string, value: unknown): void {
  expectMethods(name, value, ["forward", "parameters", "stateDict"], "a Module");
}
