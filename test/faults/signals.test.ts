// A short part of what `injectSignals` does: each signal once that the tests of the command do not send.
import { expect, test } from "vitest";
import { injectSignals } from "./signals.js";

test("signals at different moments of a run lose nothing", async () => {
  expect(await injectSignals({ from: 3, to: 11 })).toEqual({ injected: 8, lost: [] });
});
