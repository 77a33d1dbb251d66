// Leaves with work in flight, in the way the argument says. On the CPU that work would take days: whoever waited for its
// end would hang. A GPU cannot be told to forget its work, so there it is little.
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
// Otherwise: nobody waits for anything, so nothing keeps the process.
