import { expect, test } from "vitest";
import { injectCommandKills, injectFullDisks, injectSignals, injectStrayErrors } from "./signals.js";

// `npm run test:faults` injects more of them, with every signal.
test.each([
  ["signals", injectSignals, { from: 3, to: 5 }],
  ["kills", injectCommandKills, { from: 0, to: 1 }],
  ["uncaught errors", injectStrayErrors, { from: 2, to: 3 }],
  ["writes that fail", injectFullDisks, { from: 2, to: 3 }],
])("%s at different moments of a run lose nothing", async (_, inject, numbers) => {
  expect(await inject(numbers)).toEqual({ injected: numbers.to - numbers.from, lost: [] });
});
