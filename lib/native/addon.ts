/** The surface that every addon exports; `native/binding/` implements it once for all backends. */

export type DataType = "float32" | "float64" | "int32" | "uint8";
export const dataTypes: readonly DataType[] = ["float32", "float64", "int32", "uint8"];

export type TypedArray = Float32Array | Float64Array | Int32Array | Uint8Array;

export interface NativeTensor {
  readonly shape: number[];
  readonly dtype: DataType;
  /** Counts the writes in place to the tensor's memory, through any view of it. */
  readonly version: number;
  /** Whether another tensor has the same memory. */
  readonly shared: boolean;
  readonly disposed: boolean;
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
  reshape(tensor: NativeTensor, shape: readonly number[]): NativeTensor;
  enqueue(operation: number, tensors: readonly NativeTensor[], attributes?: Attributes): NativeTensor[];
  synchronize(): Promise<void>;
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
}

export interface Addon {
  readonly backend: string;
  readonly operations: readonly string[];
  setErrorClass(errorClass: unknown): void;
  describe(): Record<string, string>;
  readonly NativeDevice: new (options?: NativeDeviceOptions) => NativeDevice;
}
