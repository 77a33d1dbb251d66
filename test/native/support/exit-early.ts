// Exits with work in flight, in the way given by the argument. On the CPU the work would take days, so waiting for it
// would hang. Enqueued work of a GPU cannot be canceled, so there is little of it there.
import { openBusy } from "./busy.js";
import { addon, id } from "./surface.js";

const { device, x } = openBusy();
if (addon.backend === "cpu") {
  device.beginCapture();
  for (const result of device.enqueue(id("matmul"), [x, x])) result.dispose();
  device.endCapture().replay(2 ** 32);
}
const way = process.argv[2];
if (way === "exit") {
  device.read(x);
  process.exit(7);
}
if (way === "throw") {
  device.read(x);
  setTimeout(() => {
    throw new Error("on purpose");
  }, 10);
}
// Otherwise nothing is awaited, so nothing keeps the process alive.
