/**
 * Checks of values that may come from another realm: a page's frame, a context of `node:vm`, as test runners make them. A
 * Float32Array from there is one, although it is no `instanceof` ours. Needs nothing but the language.
 *
 * @module
 */

/** Reads what a typed array is, whatever its realm and its class; of anything else `undefined`. */
const readName = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag)
  ?.get as (this: unknown) => string | undefined;

/** The class of a typed array, such as `Float32Array`, also of one that is derived from it; else `undefined`. */
export function arrayName(value: unknown): string | undefined {
  return readName.call(value);
}

export function isFloat32Array(value: unknown): value is Float32Array {
  return arrayName(value) === "Float32Array";
}

export function isInt32Array(value: unknown): value is Int32Array {
  return arrayName(value) === "Int32Array";
}

export function isUint8Array(value: unknown): value is Uint8Array {
  return arrayName(value) === "Uint8Array";
}

/** Whether memory is shared between threads. */
export function isShared(buffer: ArrayBufferLike): buffer is SharedArrayBuffer {
  return Object.prototype.toString.call(buffer) === "[object SharedArrayBuffer]";
}

/** Whether an object is `{…}`, or has no prototype. */
export function isPlainObject(value: unknown): value is Record<PropertyKey, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === null) return true;
  // Of all prototypes, only the one at the root of a realm has neither a prototype nor is made by a program.
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype as object, "isPrototypeOf");
}

/** Whether a value is a promise, or what `await` takes for one. */
export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}

/** Whether what was thrown is an error. */
export function isError(thrown: unknown): thrown is Error {
  if (typeof thrown !== "object" || thrown === null) return false;
  const { name, message } = thrown as { name?: unknown; message?: unknown };
  return typeof name === "string" && typeof message === "string";
}

/** What an error says, or whatever else was thrown. */
export function messageOf(thrown: unknown): string {
  return isError(thrown) ? thrown.message : String(thrown);
}

const copy: unique symbol = Symbol.for("stepsize.copy") as never;

/** Stands for this copy of the package: it may be installed, or loaded, more than once. */
const thisCopy = Object.freeze({});

/** Marks a class of this copy, so that another copy's objects of the class of the same name can be told from its own. */
export function markCopy(Class: { readonly prototype: object }): void {
  Object.defineProperty(Class.prototype, copy, { value: thisCopy });
}

/** Whether an object is of a class that another copy of the package marked. */
export function isOfAnotherCopy(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const mark = (value as { [copy]?: unknown })[copy];
  return mark !== undefined && mark !== thisCopy;
}
