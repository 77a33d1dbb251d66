import { createRequire } from "node:module";
import { StepsizeError } from "../errors.js";
import { shown } from "../quoting.js";
import { readFile } from "../read-file.js";
import { messageOf } from "../realms.js";
import { resolveInPackage } from "./packages.js";

/** How an image of other proportions is fitted to a size: cut at the center, or whole with black bars. */
export type ImageFit = "crop" | "letterbox";

/** The form to which images are decoded: uint8 of shape `[height, width, channels]`. */
export interface ImageForm {
  readonly height: number;
  readonly width: number;
  /** 1 for gray, 3 for RGB. */
  readonly channels: number;
  readonly fit: ImageFit;
}

/** Decodes the image in a file. Rejects with an error that names the file. */
export type DecodeImage = (path: string, form: ImageForm) => Promise<Uint8Array>;

/** The used part of the package sharp. */
type Sharp = (bytes: Uint8Array, options: { failOn: "error"; pages: 1; autoOrient: true }) => SharpImage;

interface SharpImage {
  resize(width: number, height: number, options: { fit: "cover" | "contain"; background: string }): SharpImage;
  flatten(options: { background: string }): SharpImage;
  toColourspace(space: "srgb" | "b-w"): SharpImage;
  raw(options: { depth: "uchar" }): SharpImage;
  toBuffer(): Promise<Uint8Array>;
}

/** Largest size of an image file in bytes. sharp also refuses images of more than 268 megapixels. */
const maxFileBytes = 2 ** 29;

/**
 * Loads the package sharp, which decodes JPEG, PNG, WebP, GIF, AVIF, TIFF and SVG on threads of its own.
 *
 * Images are turned as their EXIF orientation says. Values of 16 bits are scaled to 8, CMYK is converted to RGB, gray
 * becomes RGB or RGB gray as `channels` asks, transparent pixels are blended with white, and of an animation only the
 * first frame is used.
 *
 * @param wantedBy what needs the package, for the error message
 * @throws StepsizeError `not-found` if sharp is not installed or cannot be loaded
 */
export function loadDecoder(wantedBy: string): DecodeImage {
  const sharp = loadSharp(wantedBy);
  return async (path, { height, width, channels, fit }) => {
    // The file is read here, because sharp keeps the content of files that it opens itself.
    const bytes = await readFile(path, maxFileBytes);
    if (bytes.length === 0) throw new StepsizeError("invalid-file", `${path}: expected an image, found an empty file`);
    try {
      // A warning, such as a few superfluous bytes, does not make a file unusable. One that is cut short is an error.
      return await sharp(bytes, { failOn: "error", pages: 1, autoOrient: true })
        .resize(width, height, { fit: fit === "crop" ? "cover" : "contain", background: "#000" })
        .flatten({ background: "#fff" })
        .toColourspace(channels === 1 ? "b-w" : "srgb")
        .raw({ depth: "uchar" })
        .toBuffer();
    } catch (cause) {
      const why = shown(messageOf(cause).trim().replaceAll(/\s+/g, " "), 200);
      throw new StepsizeError("invalid-file", `${path}: expected an image that sharp can read (${why})`, { cause });
    }
  };
}

function loadSharp(wantedBy: string): Sharp {
  const file = resolveInPackage("sharp", "", wantedBy);
  try {
    return createRequire(import.meta.url)(file) as Sharp;
  } catch (cause) {
    const why = shown(messageOf(cause).trim().replaceAll(/\s+/g, " "), 200);
    const advice = "install it again on this machine with: npm install sharp";
    throw new StepsizeError("not-found", `${wantedBy}: the package sharp cannot be loaded (${why}); ${advice}`, {
      cause,
    });
  }
}
