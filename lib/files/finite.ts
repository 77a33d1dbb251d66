import { setImmediate as nextTurn } from "node:timers/promises";
import type { DataType, TypedArray } from "../native/index.js";

/** Values that are looked at before the event loop gets its turn: a few milliseconds' worth. */
const atOnce = 2 ** 22;

/** Whether all values are finite, neither NaN nor infinite. */
export async function areAllFinite(dtype: DataType, values: TypedArray): Promise<boolean> {
  for (let start = 0; start < values.length; start += atOnce) {
    if (start > 0) await nextTurn();
    const part = values.subarray(start, start + atOnce);
    if (!(dtype === "bfloat16" ? areFiniteBfloat16(part) : areFinite(part))) return false;
  }
  return true;
}

function areFinite(values: TypedArray): boolean {
  // A difference of a finite number to itself is 0, of others NaN.
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += (values[i] as number) - (values[i] as number);
  return sum === 0;
}

/** Of bits: an exponent of ones is that of infinities and NaNs. */
function areFiniteBfloat16(bits: TypedArray): boolean {
  for (let i = 0; i < bits.length; i++) if (((bits[i] as number) & 0x7f80) === 0x7f80) return false;
  return true;
}
