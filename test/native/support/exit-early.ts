// Leaves with work in flight, in the way the argument says.
import { openBusy } from "./busy.js";

const { device, x } = openBusy();
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
