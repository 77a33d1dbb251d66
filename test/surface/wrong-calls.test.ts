// Whatever plain JavaScript passes to the package's functions, the outcome is a result or a StepsizeError. The test
// finds the functions itself, and fails for an export that valid-calls.ts does not list.
import { rm } from "node:fs/promises";
import { afterAll, expect, test } from "vitest";
import { StepsizeError } from "#lib/errors.js";
import * as stepsize from "#lib/index.js";
import { failing, internal, makeWorld, returned, validCalls } from "./valid-calls.js";

const world = await makeWorld();
const home = process.cwd();
// Names that are used as paths stay inside this folder.
process.chdir(world.folder);
afterAll(async () => {
  process.chdir(home);
  await world.device.close();
  await rm(world.folder, { recursive: true });
});

type Function = (...args: unknown[]) => unknown;

/** The functions found by the walk, by their path in valid-calls.ts. */
const surface = new Map<string, (receiver: unknown, args: unknown[]) => unknown>();
const paths = new Map<object, string>();

function isClass(value: unknown): value is new (...args: unknown[]) => unknown {
  return typeof value === "function" && /^class\b/.test(Function.prototype.toString.call(value));
}

function addClass(path: string, one: new (...args: unknown[]) => unknown): void {
  if (!paths.has(one)) paths.set(one, path);
}

/** The methods of a class and of its base classes, each under the class that defines it. */
function addMethods(one: { readonly prototype: object; readonly name: string }): void {
  for (let at = one.prototype; at !== Object.prototype && at !== Error.prototype; at = Object.getPrototypeOf(at)) {
    const owner = paths.get(at.constructor) ?? at.constructor.name;
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(at)))
      if (typeof value === "function" && name !== "constructor")
        surface.set(`${owner}#${name}`, (receiver, args) => (receiver as Record<string, Function>)[name]?.(...args));
  }
}

function walk(prefix: string, exports: object): void {
  for (const name of Object.keys(exports).sort()) {
    const [path, value] = [prefix + name, (exports as Record<string, unknown>)[name]];
    if (Object.prototype.toString.call(value) === "[object Module]") walk(`${path}.`, value as object);
    else if (isClass(value)) addClass(path, value);
    else if (typeof value === "function" && !paths.has(value)) {
      paths.set(value, path);
      surface.set(path, (_, args) => (value as Function)(...args));
    }
  }
}

walk("", stepsize);
for (const [path, one] of Object.entries(await returned(world))) addClass(path, one.constructor as never);
for (const one of [...paths.keys()]) if (isClass(one)) addMethods(one);
for (const [one, path] of paths) if (isClass(one)) surface.set(path, (_, args) => new one(...args));
for (const path of internal) surface.delete(path);

const nothing = () => undefined;
// Created anew for each call, which may change them.
const wrongValues = (): readonly unknown[] => [
  undefined,
  null,
  Number.NaN,
  -1,
  0.5,
  Number.POSITIVE_INFINITY,
  "",
  "wrong",
  true,
  1n,
  Symbol("wrong"),
  nothing,
  {},
  [],
  [null],
  new Map(),
  new Float32Array(0),
];

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

/** All ways to spoil one argument or one of its options, as a description and a change of valid arguments. */
function* spoiled(args: readonly unknown[]): Generator<[string, (right: unknown[]) => unknown[]]> {
  for (const [i, argument] of args.entries()) {
    yield [`without arguments from ${i} on`, (right) => right.slice(0, i)];
    for (const value of wrongValues()) yield [`argument ${i}: ${show(value)}`, (right) => right.with(i, value)];
    if (!isPlain(argument)) continue;
    for (const name of Object.keys(argument))
      for (const value of wrongValues())
        yield [
          `argument ${i}.${name}: ${show(value)}`,
          (right) => right.with(i, { ...(right[i] as object), [name]: value }),
        ];
  }
}

function show(value: unknown): string {
  if (typeof value === "symbol" || typeof value === "function") return typeof value;
  if (typeof value === "number" || value === undefined) return String(value);
  return typeof value === "bigint" ? "1n" : `${JSON.stringify(value)}${value instanceof Map ? " (a Map)" : ""}`;
}

/** Awaits a result, and the first value of an asynchronous iterator. */
async function settle(result: unknown): Promise<void> {
  const value = await result;
  if (typeof value !== "object" || value === null || !(Symbol.asyncIterator in value) || !("next" in value)) return;
  const iterator = value as AsyncGenerator;
  await iterator.next();
  await iterator.return?.(undefined);
}

test("every exported function has a valid call in the table", async () => {
  expect([...surface.keys()].filter((path) => !(path in validCalls))).toEqual([]);
});

test.each([...surface.keys()].filter((path) => path in validCalls))("%s", async (path) => {
  const { on, with: make } = validCalls[path]!;
  const invoke = surface.get(path)!;
  const call = async (change: (right: unknown[]) => unknown[]) => {
    const receiver = await on?.(world);
    const args = change(await make(world));
    let returnsPromise = false;
    try {
      const result = invoke(receiver, args);
      returnsPromise = result instanceof Promise;
      await settle(result);
      return { returnsPromise, error: undefined };
    } catch (error) {
      return { returnsPromise, error };
    }
  };
  const right = await call((args) => args);
  if (right.error && !(failing.has(path) && right.error instanceof StepsizeError)) throw right.error;
  const wrong: string[] = [];
  for (const [what, change] of spoiled(await make(world))) {
    const { error, returnsPromise } = await call(change);
    if (error !== undefined && !(error instanceof StepsizeError)) wrong.push(`${what}: ${error}`);
    else if (error !== undefined && right.returnsPromise && !returnsPromise)
      wrong.push(`${what}: thrown, not rejected`);
  }
  expect(wrong).toEqual([]);
});
