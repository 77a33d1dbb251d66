// The pool of threads and the CPU backend under ThreadSanitizer: test/native/support/races_test.cc.
import { expect, it } from "vitest";
import { runRaces, whyNoThreadSanitizer } from "./support/races.mjs";

const why = await whyNoThreadSanitizer();
if (why) console.warn(`the test of races is skipped: ${why}`);

it.skipIf(why)("a race is found", async () => {
  await expect(runRaces("race")).rejects.toThrow("ThreadSanitizer: data race");
});

it.skipIf(why)("several devices that share the pool have no data race", async () => {
  expect(await runRaces()).toBe("ok\n");
});
