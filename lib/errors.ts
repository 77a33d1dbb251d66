import { quoted, shown } from "./quoting.js";
import { isError, isOfAnotherCopy } from "./realms.js";

/** The kind of error that a {@link StepsizeError} reports. Codes are stable, so that programs can depend on them. */
export type ErrorCode =
  | "invalid-argument" // a value of the wrong type, range or shape
  | "invalid-state" // a valid call at the wrong time, such as a disposed tensor or a second backward()
  | "invalid-file" // a file that is truncated, corrupted or of another format
  | "not-found" // a missing file, addon or device
  | "out-of-memory"
  | "non-finite" // a loss or gradient became NaN or infinite
  | "device-failed" // an operation failed after its call, or the device itself did
  | "unsupported";

/**
 * The error that every function of stepsize throws, or with which its promises reject.
 *
 * The message names the argument, what was expected and what was given. A function that returns a promise rejects and
 * does not throw. Errors of the caller's own functions (a loss, a callback, an iterable of batches) are passed on
 * unchanged.
 *
 * @example
 * ```ts
 * import { openDevice, StepsizeError } from "stepsize";
 *
 * try {
 *   await openDevice("cuda:999");
 * } catch (error) {
 *   if (!(error instanceof StepsizeError)) throw error;
 *   console.log(error.code, error.message); // not-found, cuda:999: …
 * }
 * ```
 */
export class StepsizeError extends Error {
  /** The kind of the error. */
  readonly code: ErrorCode;

  /**
   * Creates an error.
   *
   * @param code the kind of the error
   * @param message a description, such as `lr: expected a number ≥ 0, got -1`
   * @param options the `cause` of the error
   */
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    // Plain JavaScript may pass any value, and the constructor of Error throws for a symbol.
    super(String(message), options);
    this.name = "StepsizeError";
    this.code = code;
  }
}

// The package may be loaded more than once, and the addon uses the class of the copy that loaded it last. So errors of
// every copy count as instances.
Object.defineProperty(StepsizeError, Symbol.hasInstance, {
  value(this: typeof StepsizeError, value: unknown): boolean {
    if (this === StepsizeError) return isError(value) && value.name === "StepsizeError" && "code" in value;
    // A derived class inherits this function and needs the usual check.
    return Function.prototype[Symbol.hasInstance].call(this, value);
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

function className(value: object): string {
  // An object without a prototype has no constructor.
  const name: unknown = value.constructor?.name;
  return typeof name === "string" && name !== "" ? shown(name) : "null prototype";
}

// Deeper arrays, which may be endless, are only described by their length.
const maxDescribedDepth = 3;
const maxDescriptionLength = 200;

/**
 * Describes a value for an error message. The text is short, contains the type of objects, and has no control
 * characters.
 */
export function describe(value: unknown): string {
  return shown(describeAt(value, 1), maxDescriptionLength);
}

function describeAt(value: unknown, depth: number): string {
  if (typeof value === "string") return quoted(value);
  // Converting a bigint to decimal takes time that grows with the square of its length.
  if (typeof value === "bigint") return BigInt.asIntN(128, value) === value ? `${value}n` : "a bigint of over 128 bits";
  if (typeof value === "function") return "a function";
  if (Array.isArray(value)) {
    const isShort = value.length <= 8 && depth <= maxDescribedDepth;
    if (!isShort) return `an array of ${value.length}`;
    return `[${Array.from(value, (item) => describeAt(item, depth + 1)).join(", ")}]`;
  }
  if (ArrayBuffer.isView(value)) return `a ${className(value)}`;
  if (typeof value !== "object" || value === null) return shown(String(value));
  if (isOfAnotherCopy(value))
    return `a ${className(value)} of another copy of stepsize (the package is installed or loaded twice: use one)`;
  return `an object (${className(value)})`;
}
