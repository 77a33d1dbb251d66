// What operations need beside their tensors, when the GPU's memory is full. The environment gives it 4 MiB.
import { openDevice } from "#lib/native/index.js";
import { correctCount, Tensor, zeros } from "#lib/tensor/index.js";
import { thrown } from "./thrown.js";

const rows = 2 ** 16;
const device = await openDevice("cuda:emulated");
const seen: Record<string, unknown> = {};
// Nothing reads the values, and to write them takes the emulator seconds.
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

// Where the largest number of each row is, 256 KiB, is kept between two kernels of this operation.
const [logits, labels] = [zeros(device, [rows, 1]), zeros(device, [rows], "int32")];

// All that there is lies in the cache for tensors.
fillUp();
giveUp();
seen["eager"] = await correctCount(logits, labels).item();

// Captured work has scratch memory of its own, and what the cache gives back is not freed before the capture's end.
fillUp();
giveUp();
const made: Tensor[] = [];
const capture = device.capture(() => made.push(correctCount(logits, labels)));
capture.replay();
seen["captured"] = await (made[0] as Tensor).item();
capture.dispose();

// There is none: the call says so, and nothing sticks.
fillUp();
const attempt = () => device.capture(() => correctCount(logits, labels));
seen["none"] = thrown(attempt);
giveUp(2);
attempt().dispose();
seen["again"] = await correctCount(logits, labels).item();
await device.close();
console.log(JSON.stringify(seen));
