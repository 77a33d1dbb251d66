import { parentPort, workerData } from "node:worker_threads";
import { Gatherer, type GatherPlan } from "./gather.js";
import type { GatherRequest } from "./gather-thread.js";

// What goes wrong here is not caught: it ends the thread, and the other side then rejects all that it waits for.
const gatherer = new Gatherer(workerData as GatherPlan);
parentPort!.on("message", ({ id, place, slot }: GatherRequest) => {
  gatherer.gather(place, slot);
  parentPort!.postMessage(id);
});
