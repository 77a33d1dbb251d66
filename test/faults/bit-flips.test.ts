import { expect, test } from "vitest";
import { injectBitFlips, injectTruncations } from "./bit-flips.js";

// Every bit takes minutes: `npm run test:faults` flips them all. 31 is prime, so that every bit of a byte comes up.
test("a flipped bit in any file that is written here is noticed when it is loaded", async () => {
  const { injected, lost } = await injectBitFlips({ step: 31 });
  expect(lost).toEqual([]);
  expect(injected).toBeGreaterThan(1000);
});

test("a file that is cut short anywhere is noticed", async () => {
  const { injected, lost } = await injectTruncations({ step: 11 });
  expect(lost).toEqual([]);
  expect(injected).toBeGreaterThan(300);
});
