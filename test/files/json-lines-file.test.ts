import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { anyNumber, JsonLinesFile } from "#lib/files/json-lines-file.js";
import { object } from "#lib/schema.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";

const folders = temporaryFolders();
interface One {
  readonly loss: number;
}
const read = object<One>({ loss: anyNumber });
const all = () => true;
const fileOf = (text?: string) => {
  const path = join(folders(), "records.jsonl");
  if (text !== undefined) writeFileSync(path, text);
  return { path, file: new JsonLinesFile<One>(path) };
};

test("non-finite numbers are read back unchanged, and null in old files as NaN", () => {
  const { path, file } = fileOf();
  const losses = [1.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 1e-300];
  for (const loss of losses) file.add({ loss });
  file.close();
  expect(readFileSync(path, "utf8").split("\n").slice(0, 4)).toEqual([
    '{"loss":1.5}',
    '{"loss":"NaN"}',
    '{"loss":"Infinity"}',
    '{"loss":"-Infinity"}',
  ]);
  expect(file.cut(read, all).values.map(({ loss }) => loss)).toEqual([...losses.slice(0, 4), 0, 1e-300]);
  expect(fileOf('{"loss":null}\n').file.cut(read, all).values).toEqual([{ loss: Number.NaN }]);
});

describe("a cut", () => {
  test("keeps the records before the first refused one, and does not read further", () => {
    const { path, file } = fileOf('{"loss":1}\n{"loss":2}\n{"loss":3}\nnothing\n{"loss":');
    expect(file.cut(read, ({ loss }) => loss < 3)).toEqual({ values: [{ loss: 1 }, { loss: 2 }], wasTorn: false });
    expect(readFileSync(path, "utf8")).toBe('{"loss":1}\n{"loss":2}\n');
  });

  test.each(['{"lo', '{"loss":2}', "\0\0\0\0"])("removes a half-written last line: %j", (half) => {
    const { path, file } = fileOf(`{"loss":1}\n${half}`);
    expect(file.cut(read, all)).toEqual({ values: [{ loss: 1 }], wasTorn: true });
    expect(readFileSync(path, "utf8")).toBe('{"loss":1}\n');
  });

  test.each(["null", "{}", "[]", "", "0", '{"loss":"much"}', "{", "\0"])(
    "refuses the line %j by its number",
    (line) => {
      const text = `{"loss":1}\n${line}\n{"loss":3}\n`;
      const { path, file } = fileOf(text);
      const place = expectError(() => Promise.resolve().then(() => file.cut(read, all)), "invalid-file", `${path}:2: `);
      return place.then(() => expect(readFileSync(path, "utf8")).toBe(text));
    },
  );

  test("gives no records for a missing file, and an error if the file cannot be read", async () => {
    expect(fileOf().file.cut(read, all)).toEqual({ values: [], wasTorn: false });
    const { path, file } = fileOf();
    mkdirSync(path);
    await expectError(() => file.cut(read, all), "invalid-file", "cannot be read");
  });
});

test("a file that another process extends meanwhile is only appended to", () => {
  const { path, file } = fileOf('{"loss":1}\n');
  file.add({ loss: 2 });
  appendFileSync(path, '{"loss":3}\n');
  file.add({ loss: 4 });
  file.close();
  expect(file.cut(read, all).values.map(({ loss }) => loss)).toEqual([1, 2, 3, 4]);
});
