import type { DataType, Device } from "../native/index.js";
import { cast, type Tensor, uniform } from "../tensor/index.js";
import type { Shape } from "./shapes.js";

/** Creates a tensor of random numbers in [−1, 1), on the device. `salt` selects the numbers. */
export function randomTensor(device: Device, shape: Shape, dtype: DataType, salt: number): Tensor {
  const created = uniform(device, shape, { low: -1, high: 1, seed: salt });
  if (dtype === "float32") return created;
  const result = cast(created, dtype);
  created.dispose();
  return result;
}
