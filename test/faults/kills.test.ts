import { expect, test } from "vitest";
import { injectKills } from "./kills.js";

// `npm run test:faults` kills 200 times.
test("a run that is killed at any moment leaves whole checkpoints, and goes on to the same bits", async () => {
  const { injected, lost, examples } = await injectKills({ kills: 8 });
  expect(examples).toEqual([]);
  expect(lost).toBe(0);
  expect(injected).toBe(8);
});
