// Ten worker threads in sequence, each ended with queued work and unsettled reads. Half of them are terminated from
// outside, the other half exit themselves.
import { Worker } from "node:worker_threads";
import { addon, expectUsable, options } from "./surface.js";

// A worker thread accepts only JavaScript, so it first registers the TypeScript loader.
const url = JSON.stringify(new URL("busy-worker.ts", import.meta.url));
const code = `import("tsx/esm/api").then(({ register }) => { register(); return import(${url}); })`;

for (let i = 0; i < 10; i++) {
  const exits = i % 2 === 1;
  const worker = new Worker(code, { eval: true, workerData: { exits } });
  let busy = exits;
  await new Promise<void>((resolve, reject) => {
    worker.on("error", reject);
    worker.on("message", () => {
      busy = true;
      worker.terminate();
    });
    worker.on("exit", () => resolve());
  });
  if (!busy) throw new Error("a worker ended before it was busy");
}
// The thread pool belongs to the process and still works.
await expectUsable(new addon.NativeDevice(options(2)));
console.log("ok");
