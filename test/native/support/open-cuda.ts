// Opens the device that the argument names, in an environment that the caller chose. Prints what became of it.
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
