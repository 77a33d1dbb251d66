import { expect, test } from "vitest";
import { injectKills } from "./kills.js";

// `npm run test:faults` kills 200 times.
test("a run that is killed at any moment leaves whole checkpoints, and goes on to the same bits", async () => {
  const { injected, lost } = await injectKills({ kills: 5 });
  expect(lost).toEqual([]);
  expect(injected).toBe(5);
});
