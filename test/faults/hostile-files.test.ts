// A short part of `injectHostileFiles`: all files that are hostile as a whole, and every thirteenth with a replaced
// value.
import { expect, test } from "vitest";
import { injectHostileFiles } from "./hostile-files.js";

test("every hostile file is read or refused, without other errors, long messages or control characters", async () => {
  const { injected, refused, read, lost } = await injectHostileFiles({ oneOf: 13 });
  expect(lost).toEqual([]);
  expect(refused + read).toBe(injected);
  // Both must be frequent: a reader that refuses everything would pass all other checks.
  expect(refused).toBeGreaterThan(400);
  expect(read).toBeGreaterThan(100);
});
