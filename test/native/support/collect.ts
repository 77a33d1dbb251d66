// Needs --expose-gc. A promise must settle even if the device and the tensor that it belongs to are unreachable.
import { setImmediate } from "node:timers/promises";
import { openBusy } from "./busy.js";
import { type Anything, id } from "./surface.js";

function begin(): Promise<Anything>[] {
  const { device, x } = openBusy();
  const [sum] = device.enqueue(id("sum"), [x], { axis: 0, count: 2 });
  return [device.read(sum), device.synchronize()];
}

const promises = begin();
for (let i = 0; i < 5; i++) {
  (globalThis as Anything).gc();
  await setImmediate();
}
const [sum] = await Promise.all(promises);
console.log("ok", Math.round(sum[0]));
