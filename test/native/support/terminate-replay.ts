// Worker threads that are terminated during endless replays, while turning the event loop and in a call that waits for
// a place in the queue. Then the process exits in the same way. The argument names the device.
import { setTimeout as pause } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { openDevice } from "#lib/native/index.js";
import { full } from "#lib/tensor/index.js";

const name = process.argv[2] ?? "cpu";
// A worker thread accepts only JavaScript, so it first registers the TypeScript loader.
const url = JSON.stringify(new URL("replay-worker.ts", import.meta.url));
const code = `import("tsx/esm/api").then(({ register }) => { register(); return import(${url}); })`;

for (const fills of [false, true]) {
  const worker = new Worker(code, { eval: true, workerData: { device: name, fills } });
  let began = false;
  await new Promise<void>((resolve, reject) => {
    worker.on("error", reject);
    worker.on("message", async () => {
      began = true;
      // Long enough to fill the queue on most machines. On slower ones the wait is not tested.
      await pause(500);
      worker.terminate();
    });
    worker.on("exit", () => resolve());
  });
  if (!began) throw new Error("a worker ended before it replayed");
}
const device = await openDevice(name);
const x = full(device, [1000], 1);
const capture = device.capture(() => x.add(1).dispose());
// On a GPU the call itself would not return.
if (name === "cpu") capture.replay(2 ** 32);
console.log("ok");
process.exit(0);
