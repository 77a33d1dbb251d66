import { types } from "node:util";
import { Device } from "../native/index.js";
import { isPlainObject } from "../realms.js";
import { Tensor } from "../tensor/index.js";

/** Tells modules from other objects; their class is above this file. */
export type IsModule<Module extends object> = (value: object) => value is Module;

/** Objects with more properties than this, all of them texts and numbers (a vocabulary), are not looked at again. */
const mostAskedAgain = 1_000;

/** Those that were found to be so: a property takes a microsecond, and parameters are listed at every step. */
const tables = new WeakSet<object>();

/** Stands in a path for a key that gives no name: an object, or a symbol without a description. */
export const noName = "\0";

/** Objects of other classes that a search looks into: enough for any model, and an end for what holds a program. */
const mostSearched = 10_000;

/**
 * Walks the tensors and modules that an object holds: in its own properties, symbols included, and there in arrays,
 * plain objects, Maps and Sets, nested as deeply as one likes, and in modules. Each is met once, on the first path to
 * it. No getter is run.
 */
export class Walk<Module extends object> {
  /** All that was met, containers included. */
  readonly seen = new Set<object>();
  /** Objects of other classes, which were not looked into, by path. */
  readonly others: { readonly path: string; readonly holder: object; readonly value: object }[] = [];
  readonly #isModule: IsModule<Module>;
  readonly #found: (path: string, member: Tensor | Module) => void;

  constructor(isModule: IsModule<Module>, found: (path: string, member: Tensor | Module) => void) {
    this.#isModule = isModule;
    this.#found = found;
  }

  /** Walks what an object holds, whatever its class. */
  inside(holder: object): void {
    this.seen.add(holder);
    this.#properties(holder, "", holder);
  }

  /** Walks a value; does nothing where it holds no tensor and no module. */
  value(path: string, value: unknown, holder: object): void {
    if (typeof value !== "object" || value === null || this.seen.has(value)) return;
    this.seen.add(value);
    if (value instanceof Tensor) this.#found(path, value);
    else if (this.#isModule(value)) {
      this.#found(path, value);
      this.#properties(value, `${path}.`, value);
    } else if (Array.isArray(value)) this.#array(path, value, holder);
    else if (types.isMap(value)) this.#map(path, value as Map<unknown, unknown>, holder);
    else if (types.isSet(value)) this.#set(path, value as Set<unknown>, holder);
    else if (isPlainObject(value)) this.#properties(value, `${path}.`, holder);
    else this.others.push({ path, holder, value });
  }

  #properties(object: object, prefix: string, holder: object): void {
    if (tables.has(object)) return;
    const keys = Reflect.ownKeys(object);
    let objects = 0;
    for (const key of keys) {
      const value: unknown = Object.getOwnPropertyDescriptor(object, key)?.value;
      if (typeof value !== "object" || value === null) continue;
      objects++;
      this.value(prefix + (typeof key === "string" ? key : (key.description ?? noName)), value, holder);
    }
    if (objects === 0 && keys.length > mostAskedAgain) tables.add(object);
  }

  #array(path: string, array: readonly unknown[], holder: object): void {
    // Mostly numbers: a path is made for objects alone.
    for (let i = 0; i < array.length; i++) {
      const entry = array[i];
      if (typeof entry === "object" && entry !== null) this.value(`${path}.${i}`, entry, holder);
    }
  }

  // The methods are those of the language: an object of a derived class, or of another realm, has the same insides.
  #map(path: string, map: Map<unknown, unknown>, holder: object): void {
    Map.prototype.forEach.call(map, (value: unknown, key: unknown) => {
      if (typeof value !== "object" || value === null) return;
      const name = typeof key === "string" || typeof key === "number" ? key : noName;
      this.value(`${path}.${name}`, value, holder);
    });
  }

  #set(path: string, set: Set<unknown>, holder: object): void {
    let i = 0;
    Set.prototype.forEach.call(set, (value: unknown) => this.value(`${path}.${i++}`, value, holder));
  }
}

/** The tensors and modules that a value holds or is, objects of any class looked into. */
export function membersOf<Module extends object>(value: unknown, isModule: IsModule<Module>): (Tensor | Module)[] {
  const members: (Tensor | Module)[] = [];
  const walk = new Walk(isModule, (_, member) => members.push(member));
  walk.value("0", value, {});
  for (let next = 0; next < walk.others.length && next < mostSearched; next++) {
    const { value: other } = walk.others[next] as { value: object };
    if (!(other instanceof Device || ArrayBuffer.isView(other))) walk.inside(other);
  }
  return members;
}
