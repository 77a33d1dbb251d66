// The surface that every addon exports. `native/binding/` implements it once for all backends.
import type { ArrayOf, DataType } from "../data-type.js";

/** All element types. */
export const dataTypes: readonly DataType[] = ["float32", "float64", "int32", "uint8", "bfloat16"];

/** An array with the values of a tensor of any type. */
export type TypedArray = ArrayOf<DataType>;

/** The array class for the values of each element type. */
export const arrayOf = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  uint8: Uint8Array,
  bfloat16: Uint16Array,
} as const;

/** Caller-owned memory of a device. */
export interface DevicePointer {
  /** Address of the first element in the device's memory. */
  readonly devicePointer: bigint;
  /** Number of elements. */
  readonly length: number;
  /** Type of the elements. Default `"float32"`. */
  readonly dtype?: DataType;
}

/** The native handle of a tensor. `D` is the type of its elements. */
export interface NativeTensor<D extends DataType = DataType> {
  readonly shape: number[];
  readonly dtype: D;
  /** Number of in-place writes to the tensor's memory, through any view of it. */
  readonly version: number;
  /** Whether another tensor has the same memory. */
  readonly shared: boolean;
  /** Address of the first element in the device's memory; 0 if the tensor was disposed. */
  readonly devicePointer: bigint;
  readonly disposed: boolean;
  dispose(): void;
}

/** A list of tensors that an operation takes together. It holds weak references. */
export interface NativeList {
  readonly length: number;
  /**
   * Replaces the tensors of the list.
   *
   * @param places for each tensor, the index of its parameter among all parameters of the optimizer
   */
  set(tensors: readonly (NativeTensor | TypedArray | DevicePointer)[], places?: Int32Array): void;
  /** Notes the number of in-place writes of each tensor. `set` does so too. */
  note(): void;
  /** Returns the indexes of tensors that were written since and not disposed; null if there are none. */
  changed(): number[] | null;
}

/** The native side of a capture. */
export interface NativeCapture {
  replay(times: number): void;
  dispose(): void;
}

/** The memory of a device, in bytes. */
export interface MemoryStatistics {
  /** Bytes that tensors use. */
  readonly allocated: number;
  /** Bytes that are free and cached for later tensors. */
  readonly cached: number;
  /** Largest sum of `allocated` and `cached` so far, in bytes. */
  readonly peak: number;
  /** Limit in bytes; 0 if there is none. */
  readonly limit: number;
  /** Number of memory blocks that tensors use. */
  readonly tensors: number;
}

/** Attributes of an operation by name. */
export type Attributes = Readonly<Record<string, number | boolean | string | undefined>>;

/** The native side of a device. */
export interface NativeDevice {
  create<D extends DataType>(dtype: D, shape: readonly number[], data?: ArrayOf<D>): NativeTensor<D>;
  write<D extends DataType>(tensor: NativeTensor<D>, data: ArrayOf<D>): void;
  read<D extends DataType>(tensor: NativeTensor<D>): Promise<ArrayOf<D>>;
  /** Replaces as many elements as `data` has, from index `first`. */
  writePart<D extends DataType>(tensor: NativeTensor<D>, first: number, data: ArrayOf<D>): void;
  /** Reads `count` elements from index `first`. */
  readPart<D extends DataType>(tensor: NativeTensor<D>, first: number, count: number): Promise<ArrayOf<D>>;
  reshape<D extends DataType>(tensor: NativeTensor<D>, shape: readonly number[]): NativeTensor<D>;
  enqueue(
    operation: number,
    tensors: readonly NativeTensor[],
    attributes?: Attributes,
    lists?: readonly NativeList[],
  ): NativeTensor[];
  list(): NativeList;
  /** Returns two overlapping entries, one of them in the first `written` lists, as [list, index, list, index]. */
  overlap(lists: readonly NativeList[], written: number): [number, number, number, number] | undefined;
  synchronize(): Promise<void>;
  beginCapture(): void;
  endCapture(): NativeCapture;
  startTimer(): void;
  stopTimer(): Promise<number>;
  waitForEvent(event: bigint): void;
  recordEvent(): bigint;
  streamHandle(): bigint;
  memory(): MemoryStatistics;
  trim(): void;
  describe(): Record<string, string>;
  close(): Promise<void>;
}

/** How a device multiplies float32 in matrix products and convolutions; see `DeviceOptions.float32Products`. */
export type Float32Products = "float32" | "tf32";

/** Options of a native device. */
export interface NativeDeviceOptions {
  readonly index?: number | undefined;
  readonly threads?: number | undefined;
  readonly memoryLimit?: number | undefined;
  readonly instructionSet?: string | undefined;
  readonly stream?: bigint | undefined;
  readonly float32Products?: Float32Products | undefined;
}

/** The layout of the float64 tensors that an optimizer step reads: the names of their fields, in order. */
export interface StepLayout {
  /** A row of hyperparameters, one per group. */
  readonly hyper: readonly string[];
  /** A row of the schedule's table, one per step and group. */
  readonly scheduled: readonly string[];
  /** The head of the `state` tensor. */
  readonly state: readonly string[];
  /** The part of the `state` tensor that each group has, behind the head. */
  readonly groupState: readonly string[];
  /** The number of updates of a parameter that stands for the optimizer's own number. */
  readonly asManyAsAll: number;
}

/** The exports of an addon. */
export interface Addon {
  readonly backend: string;
  /** Names of the operations, in the order of their numbers. */
  readonly operations: readonly string[];
  readonly stepLayout: StepLayout;
  setErrorClass(errorClass: unknown): void;
  describe(): Record<string, string>;
  readonly NativeDevice: new (options?: NativeDeviceOptions) => NativeDevice;
}
