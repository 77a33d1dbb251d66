import { join } from "node:path";
import { isListOf, isSafeInteger } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import { expectOptions, optionNames } from "../options.js";
import { isUint8Array } from "../realms.js";
import { ArrayDataset } from "./dataset.js";
import { checkSplit, invalidFile, listFolder, notFound, type Split } from "./files.js";
import { hasThreeAxes, sharedArray } from "./items.js";
import { readIdx } from "./read-idx.js";

/** Options of {@link idx}. */
export interface IdxOptions {
  /** The split to load. Default `"train"`. */
  readonly split?: Split | undefined;
  /** Names of the classes by label, or their number, from 1 to 65536. Default 10. Classes without names get numbers. */
  readonly classes?: number | readonly string[] | undefined;
  /** Name of the dataset in messages and results. Default: the folder and the split. */
  readonly name?: string | undefined;
}

const names = optionNames<IdxOptions>({ split: true, classes: true, name: true });

/** Largest number of classes. Labels are bytes, but a model may have more classes than its data. */
const maxClasses = 65_536;

const prefixes = { train: "train", test: "t10k" } as const;

/**
 * Loads a folder of images and labels in the layout of MNIST, which Fashion-MNIST and others also use:
 * `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, or `t10k-…` for the test split. Names may have a dot instead
 * of the dash before `idx`, and the ending `.gz`. Inputs are uint8 of shape `[height, width, 1]`.
 *
 * @throws StepsizeError `not-found` if a file is missing; `invalid-file` if a file is damaged, if the files differ in
 * their number of items, or if a label is not a class; `invalid-argument` for a wrong option
 *
 * @example
 * ```ts
 * import { data } from "stepsize";
 *
 * const test = await data.idx("path/to/fashion-mnist", { split: "test" });
 * console.log(test.length, test.inputs.shape); // 10000 [28, 28, 1]
 * ```
 */
export async function idx(dir: string, options: IdxOptions = {}): Promise<ArrayDataset> {
  expectOptions("idx", names, options);
  const split = checkSplit(options.split);
  const classes = classNames(options.classes ?? 10);
  const imagesAt = await find(dir, `${prefixes[split]}-images`, "idx3");
  const labelsAt = await find(dir, `${prefixes[split]}-labels`, "idx1");
  const images = await readUint8(imagesAt);
  if (!hasThreeAxes(images.shape)) invalidFile(imagesAt, 3, "3 dimension(s)", `${images.shape.length}`);
  const labels = await readUint8(labelsAt);
  if (labels.shape.length !== 1) invalidFile(labelsAt, 3, "1 dimension(s)", `${labels.shape.length}`);

  const [items, height, width] = images.shape;
  if (labels.shape[0] !== items) {
    invalidFile(labelsAt, 4, `${items} labels, one for each image in ${imagesAt}`, `${labels.shape[0]}`);
  }
  if (images.data.length === 0) invalidFile(imagesAt, 4, "at least one image with pixels", images.shape.join(" × "));
  const classOf = sharedArray("int32", items);
  labels.data.forEach((label, i) => {
    if (label >= classes.length) {
      invalidFile(labelsAt, 8 + i, `a label from 0 to ${classes.length - 1} for item ${i}`, `${label}`);
    }
    classOf[i] = label;
  });
  return new ArrayDataset({
    inputs: { data: images.data, shape: [height, width, 1], dtype: "uint8" },
    labels: classOf,
    classes,
    name: options.name ?? `${dir} (${split})`,
  });
}

async function find(dir: string, base: string, kind: string): Promise<string> {
  const names = ["-", "."].flatMap((mark) => ["", ".gz"].map((end) => `${base}${mark}${kind}-ubyte${end}`));
  const present = await listFolder(dir, names);
  const name = names.find((candidate) => present.includes(candidate));
  return name === undefined ? notFound(dir, names, present) : join(dir, name);
}

async function readUint8(path: string): Promise<{ data: Uint8Array; shape: readonly number[] }> {
  const file = await readIdx(path);
  const { data, shape } = file;
  if (!isUint8Array(data)) invalidFile(path, 2, "elements of type uint8", file.dtype);
  return { data, shape };
}

function classNames(classes: unknown): readonly string[] {
  if (isSafeInteger(classes) && classes >= 1 && classes <= maxClasses) {
    return Array.from({ length: classes }, (_, i) => String(i));
  }
  if (Array.isArray(classes) && classes.length > 0 && isListOf(classes, (name) => typeof name === "string")) {
    return [...classes];
  }
  invalidArgument("classes", `a number of classes up to ${maxClasses}, or an array of their names`, classes);
}
