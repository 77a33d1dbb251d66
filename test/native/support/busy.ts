// Gives a device more work than it can do in a second.
import { type Anything, addon, floats, id, options } from "./surface.js";

export function enqueueMuch(device: Anything): Anything {
  // Enqueued work of a GPU cannot be canceled, so leaving waits for it.
  if (addon.backend !== "cpu") {
    const x = floats(device, [2 ** 20]);
    for (let i = 0; i < 100; i++)
      for (const result of device.enqueue(id("cast"), [x], { dtype: "float64" })) result.dispose();
    return x;
  }
  const x = floats(device, [400, 400], 0.001);
  for (let i = 0; i < 2000; i++) for (const result of device.enqueue(id("matmul"), [x, x])) result.dispose();
  return x;
}

export function openBusy(): { device: Anything; x: Anything } {
  const device = new addon.NativeDevice(options(2));
  return { device, x: enqueueMuch(device) };
}
