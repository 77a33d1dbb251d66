import { quoted, shown } from "./quoting.js";
import { isError, isOfAnotherCopy } from "./realms.js";

/** What kind of mistake or fault a {@link StepsizeError} reports; stable, for programs to branch on. */
export type ErrorCode =
  | "invalid-argument" // a value of the wrong type, range or shape
  | "invalid-state" // a right call at the wrong time: a disposed tensor, a second backward
  | "invalid-file" // a file that is truncated, mislabelled or made by something else
  | "not-found" // a file, addon or device that is not there
  | "out-of-memory"
  | "non-finite" // a loss or gradient became NaN or infinite
  | "device-failed" // an operation failed after its call, or the device itself did
  | "unsupported";

/**
 * The error that every part of stepsize throws or rejects with, whatever plain JavaScript calls it with. The message
 * names the argument, what was expected and what came. What a function of yours throws (a loss, a callback, an iterable
 * of batches) comes out as it is, and a function that returns a promise rejects and does not throw.
 */
export class StepsizeError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    // Plain JavaScript may give anything, and a symbol would be an error of its own.
    super(String(message), options);
    this.name = "StepsizeError";
    this.code = code;
  }
}

// The addon throws errors of the copy of the package that loaded it last: those of every copy are instances.
Object.defineProperty(StepsizeError, Symbol.hasInstance, {
  value(this: unknown, value: unknown): boolean {
    if (this === StepsizeError) return isError(value) && value.name === "StepsizeError" && "code" in value;
    // A derived class inherits this function.
    return Function.prototype[Symbol.hasInstance].call(this as () => void, value);
  },
});

/** Whether something that was thrown says that a file, an addon or a device is not there. */
export function isNotFound(error: unknown): error is StepsizeError & { readonly code: "not-found" } {
  return error instanceof StepsizeError && error.code === "not-found";
}

/** Throws an `invalid-argument` error: `name: expected …, got …`. */
export function invalidArgument(name: string, expected: string, got: unknown): never {
  throw new StepsizeError("invalid-argument", `${name}: expected ${expected}, got ${describe(got)}`);
}

function className(value: unknown): string {
  const name: unknown = (value as Partial<object>).constructor?.name;
  return typeof name === "string" && name !== "" ? shown(name) : "null prototype";
}

// An array of arrays of texts can say what is wrong with it; whatever is deeper, perhaps without end, cannot.
const deepestDescribed = 3;
const mostDescribed = 200;

/**
 * A value as it should look inside an error message: short, with its type where that is what is wrong, and without
 * characters that a terminal would obey.
 */
export function describe(value: unknown): string {
  return shown(describeAt(value, 1), mostDescribed);
}

function describeAt(value: unknown, depth: number): string {
  if (typeof value === "string") return quoted(value);
  // The digits of a long one take time that grows with the square of their number.
  if (typeof value === "bigint") return BigInt.asIntN(128, value) === value ? `${value}n` : "a bigint of over 128 bits";
  if (typeof value === "function") return "a function";
  if (Array.isArray(value)) {
    const isShort = value.length <= 8 && depth <= deepestDescribed;
    if (!isShort) return `an array of ${value.length}`;
    return `[${Array.from(value, (item) => describeAt(item, depth + 1)).join(", ")}]`;
  }
  if (ArrayBuffer.isView(value)) return `a ${className(value)}`;
  if (isOfAnotherCopy(value))
    return `a ${className(value)} of another copy of stepsize (the package is installed or loaded twice: use one)`;
  if (typeof value === "object" && value !== null) return `an object (${className(value)})`;
  return shown(String(value));
}
