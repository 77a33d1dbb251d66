import { parentPort, workerData } from "node:worker_threads";
import { Gatherer } from "./gather.js";
import type { GatherRequest } from "./gather-thread.js";

// Errors are not caught. They end the thread, and `GatherThread` then rejects all pending requests.
const gatherer = new Gatherer(workerData);
parentPort?.on("message", ({ id, place, slot }: GatherRequest) => {
  gatherer.gather(place, slot);
  parentPort?.postMessage(id);
});
