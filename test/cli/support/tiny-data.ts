import { idxBytes } from "../../data/support/idx-bytes.js";
import { filled } from "../../support/folders.js";
import { labelsOf, numbers } from "../../support/numbers.js";

/** Height and width of the images. */
export const side = 8;
export const classCount = 3;
export const testItems = 40;

/** Images of three classes, which differ in the half that is bright; not too easy, so that losses stay above zero. */
export function tinyImages(count: number, salt: number): { pixels: Uint8Array; labels: Int32Array } {
  const labels = labelsOf(count, salt, classCount);
  const noise = numbers(count * side * side, salt + 1);
  const pixels = Uint8Array.from(noise, (value, i) => {
    const label = labels[Math.floor(i / side / side)];
    const row = Math.floor(i / side) % side;
    const bright = label === 0 ? row < side / 2 : label === 1 ? row >= side / 2 : i % 2 === 0;
    return Math.round(100 + 90 * value + (bright ? 40 : 0));
  });
  return { pixels, labels };
}

/** Fills a folder with the four files of an IDX data set. */
export function tinyData(folder: string): string {
  const files: Record<string, Uint8Array> = {};
  for (const [prefix, count, salt] of [
    ["train", 96, 1],
    ["t10k", testItems, 5],
  ] as const) {
    const { pixels, labels } = tinyImages(count, salt);
    files[`${prefix}-images-idx3-ubyte`] = idxBytes("uint8", [count, side, side], pixels);
    files[`${prefix}-labels-idx1-ubyte`] = idxBytes("uint8", [count], Uint8Array.from(labels));
  }
  return filled(folder, files);
}

/** Arguments of a small run on such a folder. */
export function trainTiny(folder: string, ...more: string[]): string[] {
  const data = ["--data", `idx:${folder}`, "--classes", String(classCount)];
  return ["train", "--model", "mlp", ...data, "--batch", "16", "--threads", "1", "--max-lr", "0.001", ...more];
}
