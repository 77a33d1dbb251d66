// A worker thread whose device has more replays queued than it can do in a day. Posts a message, then either enqueues
// more until the queue is full and the call waits, or turns the event loop. On a GPU the call that replays does not
// return; there the worker that fills the queue makes no replays.
import { parentPort, workerData } from "node:worker_threads";
import { openDevice } from "#lib/native/index.js";
import { full } from "#lib/tensor/index.js";

const device = await openDevice(workerData.device, workerData.device === "cpu" ? { threads: 2 } : {});
const x = full(device, [1000], 1);
const capture = device.capture(() => {
  for (let i = 0; i < 3; i++) x.add(1).dispose();
});
await device.synchronize();
parentPort?.postMessage("replaying");
if (workerData.device === "cpu" || !workerData.fills) capture.replay(2 ** 32);
if (workerData.fills) for (;;) x.add(1).dispose();
await device.synchronize();
