import type { DataType, Device } from "../native/index.js";
import { PhiloxStream } from "../random.js";
import { elementCount } from "../shapes.js";
import { cast, type Tensor, tensor } from "../tensor/index.js";
import type { Shape } from "./shapes.js";

// A prime, so that tensors of round sizes begin with different numbers.
const period = 1_000_003;
let block: Float32Array | undefined;

/** Returns random numbers in [−1, 1), the same in every process. */
function numbers(): Float32Array {
  const stream = new PhiloxStream(0, 0);
  block ??= Float32Array.from({ length: period }, () => 2 * stream.uniform() - 1);
  return block;
}

/** Creates a tensor of random numbers in [−1, 1), which repeat after a million. `salt` selects the first number. */
export function randomTensor(device: Device, shape: Shape, dtype: DataType, salt: number): Tensor {
  const all = numbers();
  const values = new Float32Array(elementCount(shape));
  let from = (salt * 7919) % period;
  for (let at = 0; at < values.length; from = 0) {
    const piece = all.subarray(from, from + values.length - at);
    values.set(piece, at);
    at += piece.length;
  }
  const created = tensor(device, values, shape);
  if (dtype === "float32") return created;
  const result = cast(created, dtype);
  created.dispose();
  return result;
}
