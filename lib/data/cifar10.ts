import { stat } from "node:fs/promises";
import { join } from "node:path";
import { expectText } from "../arguments.js";
import { StepsizeError } from "../errors.js";
import { ArrayDataset } from "./dataset.js";
import { chosenSplit, invalidFile, listFolder, notFound, readBytes, type SplitChoice } from "./files.js";
import { sharedArray } from "./items.js";
import { readTar } from "./tar.js";

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

/** Largest size of a file in an archive: ten times that of CIFAR-10. */
const maxArchivedBytes = 100_000 * ITEM_BYTES;

/** @internal Where the files come from, for the error of a path that is missing. */
export const cifar10Origin: string =
  "cifar-10-binary.tar.gz, the binary version from https://www.cs.toronto.edu/~kriz/cifar.html";

/**
 * Loads CIFAR-10 from the archive of its binary version, `cifar-10-binary.tar.gz`, or from a folder with the files in it
 * (`data_batch_1.bin` … `data_batch_5.bin`, `test_batch.bin`): records of a label byte and 3,072 pixel bytes, one color
 * plane after the other. Inputs are uint8 of shape `[32, 32, 3]`. The class names are read from `batches.meta.txt` if it
 * exists. Nothing is downloaded; the archive is on https://www.cs.toronto.edu/~kriz/cifar.html.
 *
 * @param path the folder or the archive
 * @throws StepsizeError `not-found` if a file is missing; `invalid-file` if a file is damaged, cut short or has a label
 * above 9; `invalid-argument` for a wrong option
 *
 * @example
 * ```ts
 * import { data } from "stepsize";
 *
 * const train = await data.cifar10("path/to/cifar-10-binary.tar.gz");
 * const batches = train.batches({ size: 128, augment: { pad: 4, flip: true } });
 * ```
 */
export async function cifar10(path: string, options: SplitChoice = {}): Promise<ArrayDataset> {
  const split = chosenSplit("cifar10", options);
  expectText("path", path, `the folder or archive of CIFAR-10 (${cifar10Origin})`);
  const wanted = files[split];
  const source = await openFiles(path, [...wanted, namesFile]);
  const missing = wanted.filter((name) => !source.present.includes(name));
  if (missing.length > 0) notFound(path, missing, source.present);

  const classes = source.present.includes(namesFile) ? await readNames(source) : defaultNames;
  const contents: { readonly path: string; readonly bytes: Uint8Array }[] = [];
  for (const name of wanted) {
    const bytes = await source.read(name);
    checkItems(source.pathOf(name), bytes, contents[0]?.bytes.length);
    contents.push({ path: source.pathOf(name), bytes });
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

/** The files of a folder or an archive. */
interface Files {
  readonly present: readonly string[];
  pathOf(name: string): string;
  read(name: string, maxBytes?: number): Promise<Uint8Array>;
}

async function openFiles(path: string, wanted: readonly string[]): Promise<Files> {
  const found = await stat(path).catch(() => undefined);
  if (!found)
    throw new StepsizeError("not-found", `${path}: there is no such file or folder; expected ${cifar10Origin}`);
  const pathOf = (name: string) => join(path, name);
  if (found.isDirectory())
    return {
      present: await listFolder(path, wanted),
      pathOf,
      read: (name, maxBytes) => readBytes(pathOf(name), maxBytes),
    };
  const { files: contents, names } = await readTar(path, wanted, maxArchivedBytes);
  return { present: names, pathOf, read: async (name) => contents.get(name) ?? notFound(path, [name], names) };
}

function checkItems(path: string, bytes: Uint8Array, sizeOfFirst: number | undefined): void {
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

async function readNames(source: Files): Promise<string[]> {
  const path = source.pathOf(namesFile);
  const text = Buffer.from(await source.read(namesFile, maxNameBytes)).toString("utf8");
  const names = text.split(/\r?\n/).filter((line) => line.trim() !== "");
  if (names.length !== 10) invalidFile(path, 0, "10 class names, one a line", `${names.length}`);
  return names.map((name) => name.trim());
}
