import { types } from "node:util";
import { Device } from "../native/index.js";
import { isPlainObject } from "../realms.js";
import { Tensor } from "../tensor/index.js";

/** Returns whether an object is a module. It is a parameter because `module.ts` imports this file. */
export type IsModule<Module extends object> = (value: object) => value is Module;

/** Number of properties above which an object without nested objects, such as a vocabulary, is searched only once. */
const maxWalkedAgain = 1_000;

/** Large objects that contain no objects. A walk visits each property, and parameters are listed at every step. */
const tables = new WeakSet<object>();

/** Placeholder in a path for a key without a name: an object, or a symbol without a description. */
export const noName = "\0";

/**
 * Largest number of objects of other classes that a search visits. It bounds the search if an object refers to much
 * else.
 */
const maxSearched = 10_000;

/**
 * A walk over the tensors and modules that an object contains.
 *
 * It visits the object's own properties, including symbols, and nested arrays, plain objects, Maps, Sets and modules.
 * Each object is visited once, on the first path to it. Getters are not called.
 */
export class Walk<Module extends object> {
  /** All visited objects, including containers. */
  readonly seen = new Set<object>();
  /** Objects of other classes, whose contents were not visited. */
  readonly unvisited: { readonly path: string; readonly holder: object; readonly value: object }[] = [];
  readonly #isModule: IsModule<Module>;
  readonly #found: (path: string, member: Tensor | Module) => void;

  constructor(isModule: IsModule<Module>, found: (path: string, member: Tensor | Module) => void) {
    this.#isModule = isModule;
    this.#found = found;
  }

  /** Visits the properties of an object of any class. */
  inside(holder: object): void {
    this.seen.add(holder);
    this.#properties(holder, "", holder);
  }

  /** Visits a value. */
  value(path: string, value: unknown, holder: object): void {
    if (typeof value !== "object" || value === null || this.seen.has(value)) return;
    this.seen.add(value);
    if (value instanceof Tensor) this.#found(path, value);
    else if (this.#isModule(value)) {
      this.#found(path, value);
      this.#properties(value, `${path}.`, value);
    } else if (Array.isArray(value)) this.#array(path, value, holder);
    else if (types.isMap(value)) this.#map(path, value, holder);
    else if (types.isSet(value)) this.#set(path, value, holder);
    else if (isPlainObject(value)) this.#properties(value, `${path}.`, holder);
    else this.unvisited.push({ path, holder, value });
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
    if (objects === 0 && keys.length > maxWalkedAgain) tables.add(object);
  }

  #array(path: string, array: readonly unknown[], holder: object): void {
    // Most arrays contain numbers, so paths are made for objects only.
    for (let i = 0; i < array.length; i++) {
      const entry = array[i];
      if (typeof entry === "object" && entry !== null) this.value(`${path}.${i}`, entry, holder);
    }
  }

  // The methods of the prototypes are used, because a derived class may override them and another realm has its own.
  #map(path: string, map: ReadonlyMap<unknown, unknown>, holder: object): void {
    Map.prototype.forEach.call(map, (value: unknown, key: unknown) => {
      if (typeof value !== "object" || value === null) return;
      const name = typeof key === "string" || typeof key === "number" ? key : noName;
      this.value(`${path}.${name}`, value, holder);
    });
  }

  #set(path: string, set: ReadonlySet<unknown>, holder: object): void {
    let i = 0;
    Set.prototype.forEach.call(set, (value: unknown) => this.value(`${path}.${i++}`, value, holder));
  }
}

/** Returns the tensors and modules in a value, including those in objects of any class. */
export function membersOf<Module extends object>(value: unknown, isModule: IsModule<Module>): (Tensor | Module)[] {
  const members: (Tensor | Module)[] = [];
  const walk = new Walk(isModule, (_, member) => members.push(member));
  walk.value("0", value, {});
  // The list grows during the loop.
  for (const [next, { value: object }] of walk.unvisited.entries()) {
    if (next === maxSearched) break;
    if (!(object instanceof Device || ArrayBuffer.isView(object))) walk.inside(object);
  }
  return members;
}
