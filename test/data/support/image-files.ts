import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import sharp, { type Sharp } from "sharp";

/** The color of an image as `[red, green, blue]`. */
export type Color = readonly [number, number, number];

/** Makes an image of one color. */
export function plain([r, g, b]: Color, width = 8, height = 8): Sharp {
  return sharp({ create: { width, height, channels: 3, background: { r, g, b } } });
}

/** Makes the bytes of a PNG file of one color, which has exactly this color after it is decoded. */
export function png(color: Color, width = 8, height = 8): Promise<Buffer> {
  return plain(color, width, height).png().toBuffer();
}

/** Writes files into a folder, with the folders that their names have, and returns the folder. */
export function written(folder: string, files: Readonly<Record<string, Uint8Array | string>>): string {
  for (const [name, bytes] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), bytes);
  }
  return folder;
}
