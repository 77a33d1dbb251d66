// Runs operations of the table with the inputs of a case, and compares their results.
import { arrayOf, type DataType, type Device, type TypedArray } from "../native/index.js";
import { elementCount } from "../shapes.js";
import { bfloat16Value } from "../tensor/bfloat16.js";
import { Tensor, tensor } from "../tensor/index.js";
import type { CaseInput, OperationCase, OperationChecks, Tolerance } from "./operation-cases.js";
import type { Finding } from "./report.js";

type Storage = OperationChecks["storages"][number];

/** A result of an operation, on the host. */
export interface Result {
  readonly dtype: DataType;
  readonly shape: readonly number[];
  readonly values: TypedArray;
}

/** How to run a case. */
export interface RunOptions {
  readonly storage: Storage;
  /** Use the absolute values of the inputs. Default false. */
  readonly magnitudes?: boolean;
  /**
   * Round the first two inputs to TF32. `exactly` gives the rounded numbers, `with digits below` other numbers that are
   * rounded to the same ones. Default: the inputs as they are.
   */
  readonly tf32?: "exactly" | "with digits below" | undefined;
  /** Attributes instead of those of the case. */
  readonly attributes?: Readonly<Record<string, string>> | undefined;
  /** Results to expect, and a byte to fill their memory with before the run. */
  readonly poison?: { readonly results: readonly Result[]; readonly byte: number };
}

/** The results of a run. */
export interface Run {
  readonly results: readonly Result[];
  /** The number of outputs whose memory was filled with the poison before. */
  readonly poisoned: number;
  readonly outputs: number;
}

/** Creates an input on a device. */
export function createInput(device: Device, input: CaseInput, salt: number, options: RunOptions): Tensor {
  const { shape, dtype } = input;
  let values = input.values(salt);
  if (options.magnitudes) values = values.map(Math.abs);
  if (options.tf32 && salt < 2) values = values.map(options.tf32 === "exactly" ? roundedToTf32 : withDigitsBelow);
  return tensor(device, values, shape, { dtype: dtype === "stored" ? options.storage : dtype });
}

/** Rounds a number to the 11 significant bits of TF32. */
function roundedToTf32(value: number): number {
  if (value === 0) return 0;
  const unit = 2 ** (Math.floor(Math.log2(Math.abs(value))) - 10);
  return Math.round(value / unit) * unit;
}

/** Returns a number that is rounded to the same TF32, whichever way ties go. */
function withDigitsBelow(value: number): number {
  return roundedToTf32(value) * (1 + 2 ** -13);
}

/** Returns the salt of a tensor of a list. All tensors of a case have different ones. */
export function listSalt(list: number, index: number): number {
  return 100 * (list + 1) + index;
}

/** Creates a list of tensors in the form that the native interface takes. */
export function listOf(device: Device, tensors: readonly Tensor[], places?: Int32Array) {
  const list = device.native.list();
  list.set(
    tensors.map(({ handle }) => handle),
    places,
  );
  return list;
}

/** Runs a case and reads its results: the outputs, then the inputs and lists that were changed in place. */
export async function runCase(
  device: Device,
  operation: string,
  { written = [], writtenLists = [] }: Pick<OperationChecks, "written" | "writtenLists">,
  { inputs, attributes, lists = [] }: OperationCase,
  options: RunOptions,
): Promise<Run> {
  const tensors = inputs.map((input, i) => createInput(device, input, i, options));
  const listed = lists.map((list, i) => list.map((input, k) => createInput(device, input, listSalt(i, k), options)));
  // The indices of the tensors among an optimizer's parameters differ from their indices in the list.
  const native = listed.map((list) =>
    listOf(
      device,
      list,
      Int32Array.from(list, (_, i) => (2 * i) % 3),
    ),
  );
  const addresses = options.poison ? poison(device, options.poison) : new Set<bigint>();
  const handles = tensors.map(({ handle }) => handle);
  const outputs = device
    .enqueue(operation, handles, { ...attributes, ...options.attributes }, native)
    .map((handle) => new Tensor(device, handle));
  const poisoned = outputs.filter(({ size, devicePointer }) => size === 0 || addresses.has(devicePointer)).length;
  const changed = [...written.flatMap((i) => tensors[i] ?? []), ...writtenLists.flatMap((i) => listed[i] ?? [])];
  const results = await Promise.all(
    [...outputs, ...changed].map(async (one) => ({ dtype: one.dtype, shape: one.shape, values: await one.read() })),
  );
  for (const one of [...tensors, ...listed.flat(), ...outputs]) one.dispose();
  return { results, poisoned, outputs: outputs.length };
}

/**
 * Fills memory that the allocator gives to the next tensors of these types and shapes. Returns its addresses.
 *
 * The allocator takes the smallest free piece that is large enough. After `trim` there are only those that are made
 * here.
 */
function poison(device: Device, { results, byte }: NonNullable<RunOptions["poison"]>): Set<bigint> {
  device.trim();
  const tensors = results.map(({ dtype, shape }) => {
    const values = new arrayOf[dtype](elementCount(shape));
    new Uint8Array(values.buffer).fill(byte);
    return tensor(device, values, shape, { dtype });
  });
  const addresses = new Set(tensors.map(({ devicePointer }) => devicePointer));
  for (const one of tensors) one.dispose();
  return addresses;
}

/** The bytes with which memory is poisoned before two runs: NaN, and a number of about 3·10³⁸. */
export const poisons = [0xff, 0x7f] as const;

/**
 * Compares two runs into differently poisoned memory. Elements with the poison of both runs were not written. Other
 * differences are those of an operation that does not give the same bits twice.
 */
export function compareRuns(first: Run, second: Run): Finding {
  for (const [k, { values, shape }] of first.results.entries()) {
    const other = second.results[k]?.values;
    const [a, b] = [bytesOf(values), bytesOf(other ?? new Uint8Array())];
    if (a.equals(b)) continue;
    const size = values.BYTES_PER_ELEMENT;
    const unwritten: number[] = [];
    let different = -1;
    for (let i = 0; i < values.length; i++) {
      const [x, y] = [a.subarray(i * size, (i + 1) * size), b.subarray(i * size, (i + 1) * size)];
      if (x.equals(y)) continue;
      if (x.every((byte) => byte === poisons[0]) && y.every((byte) => byte === poisons[1])) unwritten.push(i);
      else if (different < 0) different = i;
    }
    const where = `result ${k} [${shape.join(", ")}]`;
    if (unwritten.length > 0)
      return {
        fault: "unwritten",
        message: `${where}: ${unwritten.length} of ${values.length} elements are not written, the first at ${unwritten[0]}`,
      };
    return {
      fault: "unstable",
      message: `${where}: element ${different} is ${values[different]} in one run and ${other?.[different]} in the next`,
    };
  }
  return {};
}

/** Compares results with the expected ones, bit by bit. */
export function compareExactly(got: readonly Result[], expected: readonly Result[]): Finding {
  for (const [k, { values, shape, dtype }] of expected.entries()) {
    const found = got[k]?.values ?? values.subarray(0, 0);
    const [a, b] = [numbersOf(dtype, found), numbersOf(dtype, values)];
    let [wrong, first] = [0, -1];
    for (let i = 0; i < values.length; i++) {
      // The bits of a NaN depend on the processor.
      if (Object.is(a[i], b[i])) continue;
      wrong++;
      if (first < 0) first = i;
    }
    if (wrong === 0) continue;
    const message = `result ${k} [${shape.join(", ")}]: ${wrong} of ${values.length} elements differ, the first at ${first}: ${shown(a[first])} instead of ${shown(b[first])}`;
    return { fault: "wrong", message };
  }
  return {};
}

/** Compares results with the expected ones, with a tolerance. `magnitudes` are the results for absolute values. */
export function compareClosely(
  got: readonly Result[],
  expected: readonly Result[],
  tolerance: Tolerance,
  { scales = [] }: OperationCase,
  magnitudes: readonly Result[] | undefined,
): Finding {
  let worst = 0;
  let message: string | undefined;
  for (const [k, { values, shape, dtype }] of expected.entries()) {
    const [a, b] = [numbersOf(dtype, got[k]?.values ?? values.subarray(0, 0)), numbersOf(dtype, values)];
    const sizes = magnitudes?.[k] && numbersOf(magnitudes[k].dtype, magnitudes[k].values);
    const large = largestOf(b);
    const isRounded = dtype === "bfloat16";
    for (let i = 0; i < b.length; i++) {
      const [x = Number.NaN, y = Number.NaN] = [a[i], b[i]];
      if (Object.is(x, y)) continue;
      const size = tolerance.relativeTo === "largest" ? large : (sizes?.[i] ?? Math.max(Math.abs(y), scales[k] ?? 1));
      const rounding = isRounded ? 2 ** -7 * Math.abs(y) + (tolerance.bfloat16Units ?? 0) * 2 ** -8 * size : 0;
      const error = Math.abs(x - y) / (tolerance.units * 2 ** -24 * size + rounding);
      // 0/0 is an error of 0. Any other NaN, and any difference of infinities, is infinitely wrong.
      const judged = x === y ? 0 : Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
      if (judged <= worst) continue;
      worst = judged;
      message = `result ${k} [${shape.join(", ")}]: element ${i} is ${x} instead of ${y}`;
    }
  }
  if (worst <= 1) return { error: worst };
  // JSON has no infinity.
  if (worst === Number.POSITIVE_INFINITY) return { fault: "wrong", ...(message && { message }) };
  return {
    fault: "wrong",
    error: worst,
    ...(message && { message: `${message}, ${worst.toPrecision(3)} tolerances` }),
  };
}

/** Returns a number as text, with the sign of zero. */
function shown(value: number | undefined): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

function bytesOf(values: TypedArray): Buffer {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength);
}

/** Returns the numbers that the elements represent. */
function numbersOf(dtype: DataType, values: TypedArray): ArrayLike<number> {
  return dtype === "bfloat16" ? Float32Array.from(values, bfloat16Value) : values;
}

function largestOf(values: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < values.length; i++) largest = Math.max(largest, Math.abs(values[i] ?? 0));
  return largest;
}
