/** The surface that every addon exports; `native/binding/` implements it once for all backends. */

export type DataType = "float32" | "float64" | "int32" | "uint8" | "bfloat16";
export const dataTypes: readonly DataType[] = ["float32", "float64", "int32", "uint8", "bfloat16"];

/** Values of a tensor as arrays hold them; a `Uint16Array` holds the bits of bfloat16 values. */
export type TypedArray = Float32Array | Float64Array | Int32Array | Uint8Array | Uint16Array;

/** The array that holds the values of each type. */
export const arrayOf = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  uint8: Uint8Array,
  bfloat16: Uint16Array,
} as const;

/** Memory of a device that another program owns. */
export interface DevicePointer {
  /** Address on the device. */
  readonly devicePointer: bigint;
  /** Number of elements. */
  readonly length: number;
  /** Default `float32`. */
  readonly dtype?: DataType;
}

export interface NativeTensor {
  readonly shape: number[];
  readonly dtype: DataType;
  /** Counts the writes in place to the tensor's memory, through any view of it. */
  readonly version: number;
  /** Whether another tensor has the same memory. */
  readonly shared: boolean;
  /** The address of the first element in the device's memory, 0 where the tensor was disposed. */
  readonly devicePointer: bigint;
  readonly disposed: boolean;
  dispose(): void;
}

/** Tensors that an operation takes together. Keeps none of them alive. */
export interface NativeList {
  readonly length: number;
  /** Replaces the tensors, and the group of each (default: all of group 0). */
  set(tensors: readonly (NativeTensor | TypedArray | DevicePointer)[], places?: Int32Array): void;
  /** Notes how often each tensor was written in place, as `set` does. */
  note(): void;
  /** The places of tensors that were written since that was noted, unless they were disposed; null where there are none. */
  changed(): number[] | null;
}

/** Captured work. */
export interface NativeGraph {
  replay(times: number): void;
  dispose(): void;
}

export interface MemoryStatistics {
  /** Bytes held by tensors. */
  readonly allocated: number;
  /** Bytes that are free and kept for the next tensors. */
  readonly cached: number;
  /** The largest sum of both so far, in bytes. */
  readonly peak: number;
  /** Bytes the device may use, 0 where it has no limit. */
  readonly limit: number;
  /** How many pieces of memory tensors hold. */
  readonly tensors: number;
}

export type Attributes = Readonly<Record<string, number | boolean | string | undefined>>;

export interface NativeDevice {
  create(dtype: DataType, shape: readonly number[], data?: TypedArray): NativeTensor;
  write(tensor: NativeTensor, data: TypedArray): void;
  read(tensor: NativeTensor): Promise<TypedArray>;
  /** Replaces the elements from `first` on, as many as the data has. */
  writePart(tensor: NativeTensor, first: number, data: TypedArray): void;
  /** `count` elements from `first` on. */
  readPart(tensor: NativeTensor, first: number, count: number): Promise<TypedArray>;
  reshape(tensor: NativeTensor, shape: readonly number[]): NativeTensor;
  enqueue(
    operation: number,
    tensors: readonly NativeTensor[],
    attributes?: Attributes,
    lists?: readonly NativeList[],
  ): NativeTensor[];
  list(): NativeList;
  /** Two places that share memory, of which one is in the first `written` lists: list, index, list, index. */
  overlap(lists: readonly NativeList[], written: number): [number, number, number, number] | undefined;
  synchronize(): Promise<void>;
  beginCapture(): void;
  endCapture(): NativeGraph;
  startTimer(): void;
  stopTimer(): Promise<number>;
  waitForEvent(event: bigint): void;
  recordEvent(): bigint;
  streamHandle(): bigint;
  memory(): MemoryStatistics;
  trim(): void;
  describe(): Record<string, string>;
  implements(operation: number): boolean;
  close(): Promise<void>;
}

export interface NativeDeviceOptions {
  readonly index?: number;
  readonly threads?: number;
  readonly memoryLimit?: number;
  readonly instructionSet?: string;
  readonly stream?: bigint;
}

export interface Addon {
  readonly backend: string;
  readonly operations: readonly string[];
  setErrorClass(errorClass: unknown): void;
  describe(): Record<string, string>;
  readonly NativeDevice: new (options?: NativeDeviceOptions) => NativeDevice;
}
