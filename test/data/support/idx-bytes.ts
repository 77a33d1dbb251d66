/** Every element type of IDX: its code, its width, and how a DataView writes it. */
export const idxTypes = [
  { dtype: "uint8", code: 0x08, width: 1, write: "setUint8", values: [0, 1, 127, 128, 255] },
  { dtype: "int8", code: 0x09, width: 1, write: "setInt8", values: [0, -1, 127, -128, 5] },
  { dtype: "int16", code: 0x0b, width: 2, write: "setInt16", values: [0, -2, 0x0102, -32768, 32767] },
  { dtype: "int32", code: 0x0c, width: 4, write: "setInt32", values: [0, -3, 0x01020304, -(2 ** 31), 2 ** 31 - 1] },
  { dtype: "float32", code: 0x0d, width: 4, write: "setFloat32", values: [0, -1.5, 2 ** -149, 3e38, Infinity] },
  { dtype: "float64", code: 0x0e, width: 8, write: "setFloat64", values: [0, -1.1, Number.MIN_VALUE, 1e308, 42] },
] as const;

/** The bytes of an IDX file, written by the book: big-endian throughout. */
export function idxBytes(dtype: string, shape: readonly number[], values: ArrayLike<number>): Uint8Array {
  const { code, width, write } = idxTypes.find((type) => type.dtype === dtype)!;
  const start = 4 + 4 * shape.length;
  const view = new DataView(new ArrayBuffer(start + width * values.length));
  view.setUint8(2, code);
  view.setUint8(3, shape.length);
  shape.forEach((extent, i) => {
    view.setUint32(4 + 4 * i, extent);
  });
  for (let i = 0; i < values.length; i++) view[write](start + width * i, values[i]!);
  return new Uint8Array(view.buffer);
}
