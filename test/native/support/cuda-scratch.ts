// Scratch memory of operations if the GPU's memory is full. The environment limits it to 4 MiB.
import { openDevice } from "#lib/native/index.js";
import { correctCount, Tensor, zeros } from "#lib/tensor/index.js";
import { thrown } from "./thrown.js";

const rows = 2 ** 16;
const device = await openDevice("cuda:emulated");
const seen: Record<string, unknown> = {};
// The values are not read, and writing them would take seconds on the emulator.
const uninitialized = () => new Tensor(device, device.native.create("float32", [rows]));
const held: Tensor[] = [];
const fillUp = () => {
  seen["full"] = thrown(() => {
    for (;;) held.push(uninitialized());
  });
};
const giveUp = (count = held.length) => {
  for (const one of held.splice(0, count)) one.dispose();
};

// This operation keeps the index of each row's maximum, 256 KiB, between two kernels.
const [logits, labels] = [zeros(device, [rows, 1]), zeros(device, [rows], "int32")];

// All memory is in the cache for tensors.
fillUp();
giveUp();
seen["eager"] = await correctCount(logits, labels).item();

// Captured work has separate scratch memory. Memory released from the cache is not freed before the capture ends.
fillUp();
giveUp();
const made: Tensor[] = [];
const capture = device.capture(() => made.push(correctCount(logits, labels)));
capture.replay();
seen["captured"] = await (made[0] as Tensor).item();
capture.dispose();

// No memory is left: the call throws, and the device still works.
fillUp();
const attempt = () => device.capture(() => correctCount(logits, labels));
seen["none"] = thrown(attempt);
giveUp(2);
attempt().dispose();
seen["again"] = await correctCount(logits, labels).item();
await device.close();
console.log(JSON.stringify(seen));
