/** Type of the elements of a tensor. */
export type DataType = "float32" | "float64" | "int32" | "uint8" | "bfloat16";
