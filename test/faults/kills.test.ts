import { expect, test } from "vitest";
import { injectKills } from "./kills.js";

// `npm run test:faults` injects 200 kills.
test("a run that is killed at any moment leaves whole checkpoints, and continues with the same bits", async () => {
  const { injected, lost } = await injectKills({ kills: 5 });
  expect(lost).toEqual([]);
  expect(injected).toBe(5);
});
