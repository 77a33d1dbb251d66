// A short part of what `injectHostileFiles` does: every file that is hostile as a whole, and one of thirteen that have a
// value replaced.
import { expect, test } from "vitest";
import { injectHostileFiles } from "./hostile-files.js";

test("every hostile file is read or refused: no other error, no long message, nothing that acts on a terminal", async () => {
  const { injected, refused, read, lost } = await injectHostileFiles({ oneOf: 13 });
  expect(lost).toEqual([]);
  expect(refused + read).toBe(injected);
  // Both happen, and often: a reader that refuses everything would pass all else.
  expect(refused).toBeGreaterThan(400);
  expect(read).toBeGreaterThan(100);
});
