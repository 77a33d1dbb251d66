import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { withTable } from "../../bench/curvature-table.js";

const root = resolve(import.meta.dirname, "../..");
const read = (file: string) => readFileSync(join(root, file), "utf8");

test("the table of the measured run in docs/uba.md equals that of its results file", () => {
  const page = read("docs/uba.md");
  expect(withTable(page, read)).toBe(page);
  expect(() => withTable("no marker", read)).toThrow("expected the marker");
});
