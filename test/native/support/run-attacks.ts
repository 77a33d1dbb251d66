// Runs every attack, or the named one, each on a separate device. Prints a line before and after each, so that a crash
// can be attributed.
import { attacks } from "./attacks.js";
import { addon, expectUsable, openSmall } from "./surface.js";

addon.setErrorClass(
  class extends Error {
    constructor(_: string, message: string) {
      super(message);
    }
  },
);
const only = process.argv[2];
for (const [name, { run, refused, cpuOnly }] of Object.entries(attacks)) {
  if (only !== undefined && name !== only) continue;
  if (cpuOnly && addon.backend !== "cpu") continue;
  console.log(JSON.stringify({ name, outcome: "began" }));
  const device = openSmall();
  let outcome = "returned";
  try {
    await run(device);
  } catch (error) {
    outcome = error instanceof Error ? `threw ${error.message.slice(0, 300)}` : `threw no Error but ${String(error)}`;
  }
  // An attack on an operation that the backend does not implement ends with that error.
  const beyond = addon.backend !== "cpu" && / is not implemented /.test(outcome);
  const expected =
    beyond ||
    (refused === undefined ? outcome === "returned" : outcome.startsWith("threw ") && outcome.includes(refused));
  try {
    await expectUsable(device);
  } catch (error) {
    outcome += `; then the device failed: ${error}`;
  }
  await device.close();
  console.log(JSON.stringify({ name, outcome, expected: expected && !outcome.includes("; then") }));
}
