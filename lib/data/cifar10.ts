import { join } from "node:path";
import { ArrayDataset } from "./dataset.js";
import { chosenSplit, invalidFile, listFolder, notFound, readBytes, type SplitChoice } from "./files.js";
import { sharedArray } from "./items.js";

const PIXELS = 32 * 32;
const CHANNELS = 3;
const ITEM_BYTES = 1 + CHANNELS * PIXELS;

const files = {
  train: [1, 2, 3, 4, 5].map((n) => `data_batch_${n}.bin`),
  test: ["test_batch.bin"],
} as const;

/** Largest size of the file of class names. */
const maxNameBytes = 65_536;

const namesFile = "batches.meta.txt";
const defaultNames = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/**
 * Loads CIFAR-10 from a folder with its binary files (`data_batch_1.bin` … `data_batch_5.bin`, `test_batch.bin`):
 * records of a label byte and 3,072 pixel bytes, one color plane after the other. Inputs are uint8 of shape
 * `[32, 32, 3]`. The class names are read from `batches.meta.txt` if it exists.
 *
 * @throws StepsizeError `not-found` if a file is missing; `invalid-file` if a file is cut short or has a label above 9;
 * `invalid-argument` for a wrong option
 *
 * @example
 * ```ts
 * import { data } from "stepsize";
 *
 * const train = await data.cifar10("path/to/cifar-10-batches-bin");
 * const batches = train.batches({ size: 128, augment: { pad: 4, flip: true } });
 * ```
 */
export async function cifar10(dir: string, options: SplitChoice = {}): Promise<ArrayDataset> {
  const split = chosenSplit("cifar10", options);
  const wanted = files[split];
  const present = await listFolder(dir, wanted);
  const missing = wanted.filter((name) => !present.includes(name));
  if (missing.length > 0) notFound(dir, missing, present);

  const classes = present.includes(namesFile) ? await readNames(join(dir, namesFile)) : defaultNames;
  const contents: { readonly path: string; readonly bytes: Uint8Array }[] = [];
  for (const name of wanted) {
    const path = join(dir, name);
    contents.push({ path, bytes: await readItems(path, contents[0]?.bytes.length) });
  }
  const items = contents.reduce((sum, { bytes }) => sum + bytes.length, 0) / ITEM_BYTES;
  const pixels = sharedArray("uint8", items * (ITEM_BYTES - 1));
  const labels = sharedArray("int32", items);
  let firstItem = 0;
  for (const { path, bytes } of contents) {
    unpack(path, bytes, pixels, labels, firstItem);
    firstItem += bytes.length / ITEM_BYTES;
  }
  return new ArrayDataset({
    inputs: { data: pixels, shape: [32, 32, CHANNELS], dtype: "uint8" },
    labels,
    classes,
    name: `cifar10 (${split})`,
  });
}

async function readItems(path: string, sizeOfFirst: number | undefined): Promise<Uint8Array> {
  const bytes = await readBytes(path);
  const rest = bytes.length % ITEM_BYTES;
  if (rest !== 0) {
    invalidFile(path, bytes.length - rest, `whole records of ${ITEM_BYTES} bytes`, `the end of the file after ${rest}`);
  }
  if (bytes.length === 0) invalidFile(path, 0, `at least one record of ${ITEM_BYTES} bytes`, "an empty file");
  // All training files have the same size. Only this check finds a file that was cut between two records.
  if (sizeOfFirst !== undefined && bytes.length !== sizeOfFirst) {
    const expected = `as many records as the first file has (${sizeOfFirst / ITEM_BYTES})`;
    invalidFile(path, Math.min(bytes.length, sizeOfFirst), expected, `${bytes.length / ITEM_BYTES}`);
  }
  return bytes;
}

function unpack(path: string, bytes: Uint8Array, pixels: Uint8Array, labels: Int32Array, firstItem: number): void {
  for (let at = 0, item = firstItem; at < bytes.length; at += ITEM_BYTES, item++) {
    const label = bytes[at]!;
    if (label > 9) invalidFile(path, at, "a label from 0 to 9", `${label}`);
    labels[item] = label;
    const to = item * (ITEM_BYTES - 1);
    for (let channel = 0; channel < CHANNELS; channel++) {
      const plane = at + 1 + channel * PIXELS;
      for (let p = 0; p < PIXELS; p++) pixels[to + p * CHANNELS + channel] = bytes[plane + p]!;
    }
  }
}

async function readNames(path: string): Promise<string[]> {
  const text = Buffer.from(await readBytes(path, maxNameBytes)).toString("utf8");
  const names = text.split(/\r?\n/).filter((line) => line.trim() !== "");
  if (names.length !== 10) invalidFile(path, 0, "10 class names, one a line", `${names.length}`);
  return names.map((name) => name.trim());
}
