import { describe, expect, test } from "vitest";
import { readPnm } from "#lib/cli/commands/pnm.js";
import { parseIndices } from "#lib/cli/commands/predict-images.js";

const bytes = (...parts: (string | readonly number[])[]) =>
  Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part, "latin1") : Buffer.from(part))));

describe("readPnm", () => {
  test.each([
    ["P2", bytes("P2\n# by hand\n3 1 # wide\n255\n0 128\n255\n"), 1, [0, 128, 255]],
    ["P2 with another maximum", bytes("P2 2 1 15 0 15"), 1, [0, 255]],
    ["P3", bytes("P3 1 1 255 1 2 3"), 3, [1, 2, 3]],
    // 10 is a line feed: a byte like any other once the header is over.
    ["P5", bytes("P5 3 1 255\n", [10, 32, 35]), 1, [10, 32, 35]],
    ["P5 of two bytes", bytes("P5 2 1 65535\n", [255, 255, 0, 0]), 1, [255, 0]],
    ["P6", bytes("P6\t1 2\r255\n", [1, 2, 3, 4, 5, 6]), 3, [1, 2, 3, 4, 5, 6]],
  ])("%s", (_, file, channels, data) => {
    const image = readPnm("a.pnm", file);
    expect([...image.data]).toEqual(data);
    expect(image.channels).toBe(channels);
    expect(image.height * image.width * channels).toBe(data.length);
  });

  test.each([
    ["bits", bytes("P4 1 1 ", [0]), "byte 0: expected P2, P3, P5 or P6 (PGM or PPM), found P4"],
    ["no width", bytes("P5"), "byte 2: expected a width from 1 to 65535, found the end of the file"],
    ["a width of 0", bytes("P5 0 1 255 "), "expected a width from 1 to 65535, found 0"],
    ["a huge height", bytes("P5 1 99999999999 255 "), "expected a height from 1 to 65535"],
    ["letters", bytes("P2 1 1 255 x"), 'byte 11: expected value 1 of 1 from 0 to 255, found "x"'],
    ["a value above the maximum", bytes("P2 1 1 9 10"), "expected value 1 of 1 from 0 to 9, found 10"],
    ["a byte above the maximum", bytes("P5 1 1 9\n", [10]), "byte 9: expected a value of at most 9, found 10"],
    [
      "truncated pixels",
      bytes("P5 2 2 255\n", [1, 2, 3]),
      "byte 11: expected 4 bytes of pixels and the end of the file, found 3 bytes",
    ],
    [
      "bytes after the pixels",
      bytes("P5 1 1 255\n", [1, 2]),
      "expected 1 bytes of pixels and the end of the file, found 2 bytes",
    ],
  ])("refuses %s", (_, file, message) => {
    expect(() => readPnm("a.pnm", file)).toThrow(message);
    expect(() => readPnm("a.pnm", file)).toThrow(/^a\.pnm: byte /);
  });
});

test.each([
  ["3", [3]],
  ["0-3", [0, 1, 2, 3]],
  ["5, 0-1,5", [5, 0, 1, 5]],
])("the indices %s are parsed", (text, indices) => {
  expect(parseIndices(text)).toEqual(indices);
});

test.each(["", "-1", "a", "3-1", "1.5", "0-99999999"])("the indices %j are refused", (text) => {
  expect(() => parseIndices(text)).toThrow("--index: expected numbers from 0");
});
