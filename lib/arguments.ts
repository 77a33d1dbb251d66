import { invalidArgument } from "./errors.js";

// Checks of arguments that calls share. Each throws the error that names the argument. What an options object may hold is
// not checked here.

/**
 * Whether a value is an array whose items all pass a test. A place that has nothing in it is one that does not: `every`
 * passes over such places, all four thousand million of a `new Array(2 ** 32 - 1)`.
 */
export function isListOf(value: unknown, accepts: (item: unknown, i: number) => boolean): boolean {
  if (!Array.isArray(value)) return false;
  for (let i = 0; i < value.length; i++) if (!accepts(value[i], i)) return false;
  return true;
}

/** Any object but an array. */
export function expectObject(name: string, value: unknown, expected = "an object of options"): void {
  if (typeof value !== "object" || value === null || Array.isArray(value)) invalidArgument(name, expected, value);
}

export function expectFunction(name: string, value: unknown, expected = "a function"): void {
  if (typeof value !== "function") invalidArgument(name, expected, value);
}

/** An object with these methods, such as a dataset's batches; `expected` says what has them. */
export function expectMethods(name: string, value: unknown, methods: readonly string[], expected: string): void {
  const has = (method: string) => typeof (value as Record<string, unknown>)[method] === "function";
  if (typeof value !== "object" || value === null || !methods.every(has)) invalidArgument(name, expected, value);
}

/** A path or a name. */
export function expectText(name: string, value: unknown, expected: string): void {
  if (typeof value !== "string" || value === "") invalidArgument(name, expected, value);
}

/** What a call is ended with early, if it was given. */
export function expectSignal(name: string, value: unknown): void {
  if (value === undefined) return;
  expectMethods(name, value, ["throwIfAborted", "addEventListener", "removeEventListener"], "an AbortSignal");
}

/** The sizes of axes. */
export function expectShape(name: string, value: unknown): void {
  const isSize = (size: unknown) => Number.isSafeInteger(size) && (size as number) >= 0;
  if (!isListOf(value, isSize)) invalidArgument(name, "an array of whole numbers ≥ 0", value);
}

/** A finite number. */
export function expectFinite(name: string, value: unknown): void {
  if (!Number.isFinite(value)) invalidArgument(name, "a finite number", value);
}

/** Tensors by name, as `stateDict()` gives them. */
export function expectState(name: string, value: unknown): void {
  expectMethods(name, value, ["get", "has", "keys", "entries"], "a Map of tensors by name, as stateDict() gives it");
}

/** A model or a part of one. */
export function expectModule(name: string, value: unknown): void {
  expectMethods(name, value, ["forward", "parameters", "stateDict"], "a Module");
}
