// Runs short-training.ts repeatedly, with another allocation of the addon failing each time. Needs
// failing_allocations.c preloaded, and --expose-gc. Arguments: the device, the first and the last failing allocation
// (0: all), the step between them, and how many more fail after each. Prints a line of JSON for each run: { at, outcome
// }. The outcome is "right", the code of a StepsizeError, or a description of what is wrong. The last line is { at: 0,
// count, outcome: "end" }.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StepsizeError } from "#lib/errors.js";
import { shortTraining } from "./short-training.js";

const device = process.argv[2] ?? "cpu";
const [from = 1, to = 0, step = 1, more = 0] = process.argv.slice(3).map(Number);
const folder = mkdtempSync(join(tmpdir(), "stepsize-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const say = (line: object): void => console.log(JSON.stringify(line));

const collect = (): void => {
  if (globalThis.gc === undefined) throw new Error("needs --expose-gc");
  globalThis.gc();
};

let unhandled: unknown;
process.on("unhandledRejection", (reason) => {
  unhandled = reason;
});

const fail = (at: string): void => {
  process.env["STEPSIZE_FAIL_AT"] = at;
};

fail("0");
const expected = await shortTraining(folder, device);
const count = Number(process.env["STEPSIZE_ALLOCATIONS"]);
if (!(count > 100)) throw new Error("the allocations are not counted: is failing_allocations.c preloaded?");

async function outcomeOf(at: number): Promise<string> {
  unhandled = undefined;
  fail(`${at}+${more}`);
  try {
    const result = await shortTraining(folder, device);
    if (result !== expected) return "other weights, without an error";
  } catch (error) {
    if (!(error instanceof StepsizeError))
      return `not a StepsizeError: ${error instanceof Error ? error.stack : error}`;
    return error.code;
  } finally {
    fail("0");
    // An unhandled rejection is reported when the event loop turns.
    await new Promise((resolve) => setImmediate(resolve));
    // A device is freed with its handle. Each emulated device has threads with stacks for a thousand threads of a
    // kernel.
    collect();
  }
  return "right";
}

const last = to === 0 ? count : Math.min(to, count);
for (let at = from; at <= last; at += step) {
  // Tells the reader in which run the process ended, if it does.
  say({ at, outcome: "begun" });
  const outcome = await outcomeOf(at);
  say({ at, outcome: unhandled === undefined ? outcome : `unhandled: ${unhandled}` });
}
if ((await shortTraining(folder, device)) !== expected)
  throw new Error("the results after the failures differ from those before");
say({ at: 0, count, outcome: "end" });
