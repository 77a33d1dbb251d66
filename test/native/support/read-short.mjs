// Reads a large tensor repeatedly and keeps the results, until memory is short (`ulimit -v`). The read must then fail,
// and the device must continue. Prints "ok" and the number of successful reads.
import { StepsizeError } from "#lib/errors.js";
import { openDevice } from "#lib/native/index.js";
import { full } from "#lib/tensor/index.js";

const device = await openDevice("cpu", { threads: 1 });
const elements = 2 ** 26;
const large = full(device, [elements], 1);
const kept = [];
let failure;
while (failure === undefined && kept.length < 100)
  await large.read().then(
    (values) => kept.push(values),
    (error) => {
      failure = error;
    },
  );
if (!(failure instanceof StepsizeError) || failure.code !== "out-of-memory") throw failure ?? new Error("no limit");
if (!failure.message.includes(`${4 * elements} bytes`)) throw failure;
const count = kept.length;
kept.length = 0;
const small = full(device, [3], 2);
if ((await small.read())[2] !== 2) throw new Error("the device is not usable afterwards");
await device.close();
console.log("ok", count);
