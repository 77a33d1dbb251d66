// Ten worker threads, one after another, each ended in the middle of queued work: half of them terminated from outside,
// half by leaving by themselves, with promises of reads that nobody will see settle.
import { Worker } from "node:worker_threads";
import { addon, expectUsable, options } from "./surface.js";

// A worker thread takes JavaScript only, so it is told first how to read TypeScript.
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
// The pool of threads is the process' own and has survived them all.
await expectUsable(new addon.NativeDevice(options(2)));
console.log("ok");
