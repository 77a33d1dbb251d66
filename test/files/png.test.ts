import { inflateSync } from "node:zlib";
import { expect, test } from "vitest";
import { encodePng } from "#lib/files/png.js";

test.each([
  ["gray", 1, 0],
  ["color", 3, 2],
] as const)("a %s image has the chunks and rows of PNG", (_, channels, colorType) => {
  const pixels = Uint8Array.from({ length: 6 * channels }, (_, i) => 40 * i);
  const png = encodePng({ width: 3, height: 2, channels, pixels });
  expect(png.subarray(0, 8).toString("latin1")).toBe("\x89PNG\r\n\x1a\n");
  const header = [0, 0, 0, 13, ...Buffer.from("IHDR"), 0, 0, 0, 3, 0, 0, 0, 2, 8, colorType, 0, 0, 0];
  expect([...png.subarray(8, 29)]).toEqual(header);
  // The last chunk of every PNG file, with its known checksum.
  expect(png.subarray(-12).toString("hex")).toBe("0000000049454e44ae426082");
  const length = png.readUInt32BE(33);
  expect(png.toString("latin1", 37, 41)).toBe("IDAT");
  const rows = inflateSync(png.subarray(41, 41 + length));
  const stride = 3 * channels;
  expect([...rows]).toEqual([0, ...pixels.subarray(0, stride), 0, ...pixels.subarray(stride)]);
});
