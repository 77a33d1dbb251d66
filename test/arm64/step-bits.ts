// Prints hashes of what optimizer steps give on an instruction set of this CPU, as JSON: every rule with every storage,
// without and with a gradient norm, with the given numbers of threads, and with extreme values.
//
//   step-bits.ts <instruction set> <threads ...>
import { createHash } from "node:crypto";
import { openDevice } from "#lib/native/index.js";
import { checks, extremeOutcome, outcome, rules } from "../optim/support/outcome.js";
import { storages } from "../optim/support/storages.js";

const [instructionSet, ...threadCounts] = process.argv.slice(2);
const hashes: Record<string, string> = {};
for (const threads of threadCounts.map(Number)) {
  const device = await openDevice("cpu", { instructionSet: instructionSet!, threads });
  const record = (name: string, result: unknown) => {
    const text = JSON.stringify(result);
    hashes[`${name}, ${threads} threads`] = createHash("sha256").update(text).digest("hex").slice(0, 16);
  };
  for (const storage of storages)
    for (const { kind, options } of rules) {
      const name = `${storage.title}: ${kind} ${JSON.stringify(options)}`;
      for (const check of checks)
        record(`${name} ${JSON.stringify(check)}`, await outcome(device, kind, { ...options, ...check }, storage));
      record(`${name}, extreme values`, await extremeOutcome(device, kind, options, storage));
    }
  await device.close();
}
console.log(JSON.stringify(hashes));
