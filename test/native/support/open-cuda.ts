// Opens the device named by the argument, in an environment chosen by the caller. Prints the outcome.
import { listDevices, openDevice } from "#lib/native/index.js";
import { full } from "#lib/tensor/index.js";

const outcome = await openDevice(process.argv[2]).then(
  async (device) => {
    const facts = device.describe();
    const [value] = await full(device, [3], 2).read();
    await device.close();
    return { name: device.name, facts, value };
  },
  ({ name, code, message }) => ({ error: name, code, message }),
);
console.log(JSON.stringify({ ...outcome, listed: listDevices().map(({ name }) => name) }));
