/** Type of the elements of a tensor. */
export type DataType = "float32" | "float64" | "int32" | "uint8" | "bfloat16";

interface Arrays {
  readonly float32: Float32Array;
  readonly float64: Float64Array;
  readonly int32: Int32Array;
  readonly uint8: Uint8Array;
  readonly bfloat16: Uint16Array;
}

/**
 * The array with the values of a tensor whose elements have the type `D`. A `Uint16Array` contains the bits of bfloat16
 * values.
 */
export type ArrayOf<D extends DataType> = Arrays[D];

/** The type of the elements of a tensor that is made from data `A`. */
export type DataTypeOf<A> = A extends Float64Array
  ? "float64"
  : A extends Int32Array
    ? "int32"
    : A extends Uint8Array
      ? "uint8"
      : A extends Uint16Array
        ? "bfloat16"
        : "float32";
