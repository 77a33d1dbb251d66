// Opens two emulated GPUs and closes the second one while the first one is in use. Run with --expose-gc, so that the
// second device's objects are destroyed before the first one is used again. Prints what both read.
import { setTimeout as pause } from "node:timers/promises";
import { findAddon } from "#lib/native/index.js";

const { addon } = findAddon("cuda-emulated");
if (!addon) throw new Error("the emulated addon is not built");
const first = new addon.NativeDevice({ index: 0 });
let second: InstanceType<typeof addon.NativeDevice> | undefined = new addon.NativeDevice({ index: 1 });
const seen = [];
// Large enough for the separate stream of uploads.
for (const device of [first, second])
  seen.push(...(await device.read(device.create("float32", [1 << 15], new Float32Array(1 << 15).fill(3)))).slice(-1));
second.close();
second = undefined;
for (let i = 0; i < 5; i++) {
  globalThis.gc?.();
  await pause(10);
}
seen.push(...(await first.read(first.create("float32", [1], Float32Array.of(4)))));
first.close();
console.log(JSON.stringify(seen));
