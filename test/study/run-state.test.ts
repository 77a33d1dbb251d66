import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readState, writeState } from "#lib/study/run-state.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";

const folders = temporaryFolders();
const path = () => join(folders(), "run.safetensors.json");

test("non-finite numbers are read back unchanged, and null of older versions as NaN", async () => {
  const [written, old] = [path(), path()];
  const state = { losses: [1, Number.NaN, Number.POSITIVE_INFINITY], onTheWay: [[2, Number.NaN, 0.5]], seconds: 3 };
  await writeState(written, state);
  expect(await readState(written, 3)).toEqual(state);
  writeFileSync(old, readFileSync(written, "utf8").replaceAll(/"(NaN|Infinity)"/g, "null"));
  expect(await readState(old, 3)).toEqual({ ...state, losses: [1, Number.NaN, Number.NaN] });
});

test("records after the checkpoint's steps are omitted", async () => {
  const file = path();
  await writeState(file, {
    losses: [3, 2, 1],
    onTheWay: [
      [1, 3],
      [2, 2],
    ],
    seconds: 3,
  });
  expect(await readState(file, 1)).toEqual({ losses: [3], onTheWay: [[1, 3]], seconds: 3 });
  await expectError(() => readState(file, 4), "invalid-file", "losses", "those of 4 steps, found 3 numbers");
});

test("a text that is not the name of a number is an error that names its place", async () => {
  const file = path();
  writeFileSync(file, '{"losses":[1,"nan"],"onTheWay":[],"seconds":1}');
  await expectError(() => readState(file, 1), "invalid-file", 'losses[1]: expected a number, found "nan"');
});
