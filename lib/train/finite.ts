import { setImmediate as nextTurn } from "node:timers/promises";
import type { TypedArray } from "../native/index.js";
import type { HostTensor } from "./safetensors.js";

/** Values that are looked at before the event loop gets its turn: a few milliseconds' worth. */
const atOnce = 2 ** 22;

/** The name of the first tensor with a value that is NaN or infinite, if there is one. */
export async function firstNotFinite(tensors: ReadonlyMap<string, HostTensor>): Promise<string | undefined> {
  let looked = 0;
  for (const [name, { dtype, data }] of tensors) {
    for (let start = 0; start < data.length; start += atOnce) {
      const part = data.subarray(start, start + atOnce);
      if (!(dtype === "bfloat16" ? areFiniteBfloat16(part) : areFinite(part))) return name;
      looked += part.length;
      if (looked < atOnce) continue;
      looked = 0;
      await nextTurn();
    }
  }
  return undefined;
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
