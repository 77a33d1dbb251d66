import { expect, test } from "vitest";
import { injectBitFlips, injectTruncations } from "./bit-flips.js";

// Flipping every bit takes minutes; `npm run test:faults` does it. 31 is prime, so that every bit of a byte occurs.
test("a flipped bit in any file that stepsize writes is detected when the file is loaded", async () => {
  const { injected, lost } = await injectBitFlips({ step: 31 });
  expect(lost).toEqual([]);
  expect(injected).toBeGreaterThan(1000);
});

test("a file that is cut at any place is detected", async () => {
  const { injected, lost } = await injectTruncations({ step: 11 });
  expect(lost).toEqual([]);
  expect(injected).toBeGreaterThan(300);
});
