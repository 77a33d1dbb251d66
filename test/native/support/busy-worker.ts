// The worker thread of terminate-workers.ts.
import { parentPort, workerData } from "node:worker_threads";
import { openBusy } from "./busy.js";

const { device, x } = openBusy();
for (let i = 0; i < 5; i++) device.read(x);
if (workerData.exits) process.exit(0);
parentPort?.postMessage("busy");
