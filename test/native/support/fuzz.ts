// Random calls of everything that the addon exports. Arguments: seed, calls of the interface, calls per operation.
// Prints "ok" with counts if every call threw an Error or returned, and the device still computes afterwards.
import { Device } from "#lib/native/index.js";
import { PhiloxStream } from "#lib/random.js";
import { inputsOf, listsOf, recipes } from "../../tensor/support/records.js";
import { type Anything, addon, expectUsable, listOf, openSmall } from "./surface.js";

const [seed = 0, surfaceCalls = 1000, callsPerOperation = 20] = process.argv.slice(2).map(Number);
const random = new PhiloxStream(seed, 0);
/** Uninitialized, because values could not be uploaded during a capture. */
const floats = (device: Anything, shape: readonly number[]): Anything => device.create("float32", shape);
const emptyGraph = (device: Anything): Anything => {
  try {
    device.beginCapture();
  } catch {}
  return device.endCapture();
};
const chance = (probability: number): boolean => random.uniform() < probability;
const pick = <T>(list: readonly T[]): T => list[random.integer(list.length)] as T;

/** Thrown by hostile getters: the only value besides an Error that a call may throw. */
const thrownByArgument = Symbol("thrown by an argument");
const fail = (): never => {
  throw thrownByArgument;
};

let [device, other, closed]: [Anything, Anything, Anything] = [openSmall(), openSmall(), openSmall()];
closed.close();
const disposed = floats(device, [2]);
disposed.dispose();

function detached(): Float32Array {
  const array = new Float32Array(4);
  structuredClone(array.buffer, { transfer: [array.buffer] });
  return array;
}

function trapped(length: number, action: () => Anything): Anything[] {
  const array = Array.from({ length }, (_, i) => i + 1);
  return Object.defineProperty(array, random.integer(length), { get: action, enumerable: true });
}

const sizes = [0, 1, 2, 3, 7, 16, 17, 33, 64, 255, 1025, 2 ** 20, 2 ** 31, 2 ** 32, 2 ** 40, 2 ** 53];

const makers: readonly (() => Anything)[] = [
  () => undefined,
  () => null,
  () => pick([true, false]),
  () => pick([0, -0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, -1e300, 2 ** 53 + 2]),
  () => pick(sizes),
  () => random.integer(addon.operations.length),
  () => pick(["", "float32", "int32", "uint8", "avx2", "portable", "x".repeat(10_000), "\ud800", "constructor"]),
  () => Symbol("s"),
  () => 10n,
  () => () => 1,
  () => class {},
  () => [],
  () => [[1], "a", null],
  () => Array.from({ length: random.integer(8) }, () => pick(sizes.slice(0, 8))),
  () => new Array(1000),
  () => trapped(3, fail),
  () =>
    trapped(2, () => {
      device.trim();
      return 1;
    }),
  () => ({}),
  () => ({ get value(): never { return fail(); }, get threads(): never { return fail(); }, get scale(): never { return fail(); } }), // biome-ignore format: one line
  () => ({ toString: fail, valueOf: fail, [Symbol.toPrimitive]: fail }),
  () => new Proxy({}, { get: fail, ownKeys: fail, getPrototypeOf: fail }),
  () => new Proxy([], { get: fail }),
  () => Object.create(null),
  () => new Date(),
  () => new Map([[1, 2]]),
  () => Promise.resolve(1),
  () => new Float32Array(random.integer(20)),
  () => new (pick([Float64Array, Int32Array, Uint8Array, Uint16Array, Uint8ClampedArray, BigInt64Array]))(4),
  detached,
  () => new Float32Array(new SharedArrayBuffer(16)),
  () => new DataView(new ArrayBuffer(8)),
  () => new ArrayBuffer(8),
  () => floats(device, [random.integer(3), 2]),
  () => [floats(device, [2]), floats(device, [2])],
  () => [floats(other, [2])],
  () => floats(other, [2]),
  () => disposed,
  () => new Proxy(floats(device, [1]), {}),
  () => Object.create(floats(device, [1])),
  () => device.list(),
  () => emptyGraph(other),
  () => ({ devicePointer: pick([0n, 16n, 2n ** 63n, -1n, 2n ** 70n]), length: pick(sizes) }),
  () => device,
  () => closed,
  () => addon,
  () => globalThis,
];
const anything = (): Anything => pick(makers)();

function endCapture(): void {
  try {
    device.endCapture().dispose();
  } catch {}
}

const counts = { returned: 0, threw: 0 };

/** Runs one call. Work that fails later rejects a promise, which is as good as a thrown error. */
function call(what: string, body: () => Anything): void {
  try {
    const result = body();
    if (result instanceof Promise) result.catch(() => {});
    counts.returned++;
  } catch (error) {
    if (error !== thrownByArgument && !(error instanceof Error)) throw new Error(`${what} threw ${String(error)}`);
    counts.threw++;
  }
}

const tensorPrototype = Object.getPrototypeOf(floats(device, [1]));
const devicePrototype = addon.NativeDevice.prototype;
const listPrototype = Object.getPrototypeOf(device.list());
const graphPrototype = Object.getPrototypeOf(emptyGraph(device));
const entries: [string, Anything, boolean][] = [
  addon,
  devicePrototype,
  tensorPrototype,
  listPrototype,
  graphPrototype,
].flatMap((object) =>
  Object.entries(Object.getOwnPropertyDescriptors(object)).flatMap(
    ([name, descriptor]): [string, Anything, boolean][] => {
      const { value, get, set } = descriptor as PropertyDescriptor;
      const isMethod = object === devicePrototype;
      return [value, get, set].filter((f) => typeof f === "function").map((f) => [name, f, isMethod]);
    },
  ),
);

for (let i = 0; i < surfaceCalls; i++) {
  const [name, entry, isMethod] = pick(entries);
  // A class that is not an error class would change every later error, so it is tested last, below.
  if (name === "setErrorClass") continue;
  const args = Array.from({ length: random.integer(5) }, anything);
  // CUDA does not check that an event is valid, so the test does not pass invalid ones.
  if (name === "waitForEvent" && addon.backend !== "cpu" && typeof args[0] === "bigint") continue;
  const receiver = isMethod && chance(0.8) ? pick([device, device, device, closed]) : anything();
  call(name, () => (chance(0.2) ? Reflect.construct(entry, args) : entry.apply(receiver, args)));
  if (isMethod && name === "close") [device, other] = [openSmall(), openSmall()];
  if (chance(0.02)) endCapture();
  if (i % 200 === 0) await new Promise(setImmediate);
}

endCapture();

const dataTypes = ["float32", "float64", "int32", "uint8", "bfloat16"];

/** A small random tensor, so that accidentally valid calls finish quickly. */
function stranger(): Anything {
  const shape = Array.from({ length: random.integer(7) }, () => pick(sizes.slice(0, 5)));
  return device.create(pick(dataTypes), shape);
}

const attributeNames = [...new Set(Object.values(recipes).flatMap(({ attributes = {} }) => Object.keys(attributes)))];

for (const [operation, id] of addon.operations.map((name: string, i: number) => [name, i])) {
  const recipe = recipes[operation]!;
  const wrapped = Object.assign(Object.create(Device.prototype), { native: device }) as Anything;
  const valid = inputsOf(wrapped, recipe).map(({ handle }) => handle);
  const contents = listsOf(wrapped, recipe).map((tensors) => tensors.map(({ handle }) => handle));
  const validLists = contents.map((handles) => listOf(device, handles));
  for (let i = 0; i < callsPerOperation; i++) {
    const tensors: Anything[] = [...valid];
    const attributes: Record<string, Anything> = { ...recipe.attributes };
    const lists: Anything[] = [...validLists];
    // Usually only one argument is wrong, so that later checks are reached too.
    do {
      const at = random.integer(tensors.length + 1);
      const kind = random.integer(contents.length > 0 ? 10 : 7);
      const list = random.integer(lists.length + 1);
      if (kind === 0) tensors.splice(at, 1);
      if (kind === 1) tensors.splice(at, 0, valid.length > 0 ? pick(valid) : stranger());
      if (kind === 2) tensors[at] = stranger();
      if (kind === 3) tensors[at] = anything();
      if (kind === 4) attributes[pick(attributeNames)] = pick([...sizes, 2 ** 24, -1, 0.5, Number.NaN]);
      if (kind === 5) attributes[pick([...attributeNames, "unknown"])] = anything();
      if (kind === 6) delete attributes[pick(Object.keys(attributes).concat("none"))];
      if (kind === 7) lists.splice(list, 1);
      if (kind === 8) lists[list] = chance(0.5) ? pick(validLists) : anything();
      if (kind === 9) {
        const members = [...(contents[list] ?? [])];
        members[random.integer(members.length + 1)] = chance(0.5) ? stranger() : anything();
        const changed = device.list();
        call("list.set", () => changed.set(members, chance(0.5) ? undefined : anything()));
        lists[list] = changed;
      }
    } while (chance(0.3));
    const given = chance(0.05) ? anything() : attributes;
    call(operation, () => {
      for (const result of device.enqueue(id, tensors, given, lists)) result.dispose();
    });
  }
  for (const tensor of [...valid, ...contents.flat()]) tensor.dispose();
  // Accepted work may fail, which is an error of its results.
  await device.synchronize();
  await expectUsable(device);
}

// Invalid error classes come last. What is then thrown depends on them, but it must reach the caller.
for (const wrong of makers) {
  for (const attempt of [() => addon.setErrorClass(wrong()), () => device.enqueue(-1)]) {
    try {
      attempt();
    } catch {}
  }
}
addon.setErrorClass(Error);
await expectUsable(device);
await expectUsable(openSmall());
console.log("ok", JSON.stringify(counts));
