/**
 * Checks of values that may come from another realm, such as a frame of a page or a context of `node:vm`, as test
 * runners make them. A Float32Array of another realm is not an `instanceof` this realm's Float32Array. This module uses
 * no API of Node.js.
 *
 * @module
 */

/** Returns the type of a typed array of any realm and class; `undefined` for any other value. */
const readName = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag)
  ?.get as (this: unknown) => string | undefined;

/**
 * Returns the type of a typed array, such as `Float32Array`, also for a derived class; `undefined` for any other value.
 */
export function arrayName(value: unknown): string | undefined {
  return readName.call(value);
}

/** Returns whether a value is a Float32Array of any realm. */
export function isFloat32Array(value: unknown): value is Float32Array {
  return arrayName(value) === "Float32Array";
}

/** Returns whether a value is an Int32Array of any realm. */
export function isInt32Array(value: unknown): value is Int32Array {
  return arrayName(value) === "Int32Array";
}

/** Returns whether a value is a Uint8Array of any realm. */
export function isUint8Array(value: unknown): value is Uint8Array {
  return arrayName(value) === "Uint8Array";
}

/** Returns whether memory is shared between threads. */
export function isShared(buffer: ArrayBufferLike): buffer is SharedArrayBuffer {
  return Object.prototype.toString.call(buffer) === "[object SharedArrayBuffer]";
}

/** Returns whether a value is an object and not an array. Its properties may have any values. */
export function isObject(value: unknown): value is Readonly<Record<PropertyKey, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Returns whether a value is a plain object: made by `{…}` in any realm, or without a prototype. */
export function isPlainObject(value: unknown): value is Record<PropertyKey, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: object | null = Object.getPrototypeOf(value);
  if (prototype === null) return true;
  // Each realm has an Object.prototype. It has no prototype itself, and has `isPrototypeOf`, unlike an object that a
  // program makes without a prototype.
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, "isPrototypeOf");
}

/** Returns whether a value is a promise or another thenable. */
export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

/** Returns whether a thrown value is an error of any realm. */
export function isError(thrown: unknown): thrown is Error {
  if (typeof thrown !== "object" || thrown === null) return false;
  if (!("name" in thrown && "message" in thrown)) return false;
  return typeof thrown.name === "string" && typeof thrown.message === "string";
}

/** Returns the code of an error of the system, such as `ENOENT`; `undefined` if it has none. */
export function codeOf(thrown: unknown): string | undefined {
  return isError(thrown) && "code" in thrown && typeof thrown.code === "string" ? thrown.code : undefined;
}

/** Returns the message of an error, or any other thrown value as text. */
export function messageOf(thrown: unknown): string {
  return isError(thrown) ? thrown.message : String(thrown);
}

const copy: unique symbol = Symbol.for("stepsize.copy");

/** Identifies this copy of the package, which may be installed or loaded more than once. */
const thisCopy = Object.freeze({});

/** Marks a class as one of this copy, so that objects of another copy's class can be distinguished. */
export function markCopy(Class: { readonly prototype: object }): void {
  Object.defineProperty(Class.prototype, copy, { value: thisCopy });
}

/** Returns whether an object belongs to a class that another copy of the package marked. */
export function isOfAnotherCopy(value: unknown): boolean {
  return typeof value === "object" && value !== null && copy in value && value[copy] !== thisCopy;
}
