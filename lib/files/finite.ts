import { setImmediate as nextTurn } from "node:timers/promises";
import type { DataType, TypedArray } from "../native/index.js";

/** Number of values to check before the event loop runs again, a few milliseconds of work. */
const blockLength = 2 ** 22;

/** Whether all values are finite, neither NaN nor infinite. */
export async function areAllFinite(dtype: DataType, values: TypedArray): Promise<boolean> {
  for (let start = 0; start < values.length; start += blockLength) {
    if (start > 0) await nextTurn();
    const part = values.subarray(start, start + blockLength);
    if (!(dtype === "bfloat16" ? areFiniteBfloat16(part) : areFinite(part))) return false;
  }
  return true;
}

function areFinite(values: TypedArray): boolean {
  // The difference of a finite number to itself is 0. Otherwise it is NaN.
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += (values[i] as number) - (values[i] as number);
  return sum === 0;
}

/** Whether bfloat16 values, given as bits, are finite. Infinities and NaNs have an exponent of ones. */
function areFiniteBfloat16(bits: TypedArray): boolean {
  for (let i = 0; i < bits.length; i++) if (((bits[i] as number) & 0x7f80) === 0x7f80) return false;
  return true;
}
