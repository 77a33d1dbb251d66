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
interface Sharp {
  readonly versions?: { readonly sharp?: string };
  (bytes: Uint8Array, options: { failOn: "error"; pages: 1; autoOrient: true }): SharpImage;
}

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
 * @throws StepsizeError `not-found` if sharp is not installed, cannot be loaded or is too old
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
      throw new StepsizeError("invalid-file", `${path}: expected an image that sharp can read (${reasonOf(cause)})`, {
        cause,
      });
    }
  };
}

/** Older versions ignore the option `autoOrient`, and would give images that lie on their side. */
const oldestSharp = [0, 34] as const;

function loadSharp(wantedBy: string): Sharp {
  const file = resolveInPackage("sharp", "", wantedBy);
  const sharp = requireSharp(file, wantedBy);
  const version = sharp.versions?.sharp ?? "none";
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > oldestSharp[0] || minor >= oldestSharp[1]) return sharp;
  const expected = `version ${oldestSharp.join(".")} or newer of the package sharp, found ${version} in ${file}`;
  throw new StepsizeError("not-found", `${wantedBy}: expected ${expected}; install it with: npm install sharp@latest`);
}

function requireSharp(file: string, wantedBy: string): Sharp {
  try {
    return createRequire(import.meta.url)(file) as Sharp;
  } catch (cause) {
    const advice = "install it again on this machine with: npm install sharp";
    const message = `${wantedBy}: the package sharp cannot be loaded (${reasonOf(cause)}); ${advice}`;
    throw new StepsizeError("not-found", message, { cause });
  }
}

/** Returns a message of sharp on one line. It may have several lines, of which some are the same. */
function reasonOf(cause: unknown): string {
  const lines = messageOf(cause)
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  return shown([...new Set(lines)].join("; "), 160);
}
