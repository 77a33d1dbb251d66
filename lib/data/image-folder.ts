import { createHash } from "node:crypto";
import type { Dirent } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { StepsizeError } from "../errors.js";
import { itemAt } from "../lookup.js";
import { shown, someOf } from "../quoting.js";
import { codeOf, messageOf } from "../realms.js";

/** The splits of a folder of images. `"all"` has the images of all others. */
export type ImageSplit = "train" | "validation" | "test" | "all";

/** A file in the folder of a class. */
export interface ImageFile {
  readonly path: string;
  /** Index of its class. */
  readonly label: number;
}

/** A file that cannot be used as an image. */
export interface BadImage {
  readonly path: string;
  /** The reason, such as `is a broken symbolic link`. */
  readonly why: string;
}

/** The files of a folder of images. */
export interface ImageFolder {
  /** Names of the classes, by label: the names of their folders. */
  readonly classes: readonly string[];
  /** The files of each split, by class and then by name. There is no validation split unless the folder has one. */
  readonly splits: ReadonlyMap<ImageSplit, readonly ImageFile[]>;
  /** Entries that are no regular files. */
  readonly bad: readonly BadImage[];
}

/** The folders of splits. With several names for one split, a folder may have one of them. */
const splitFolders: readonly [name: string, split: ImageSplit][] = [
  ["train", "train"],
  ["val", "validation"],
  ["valid", "validation"],
  ["validation", "validation"],
  ["test", "test"],
];

/** Share of the images that is held back for the test split if the folder has none. */
const testShare = 0.2;

/**
 * Lists a folder with one folder per class, or with `train/` and other splits that have one folder per class.
 *
 * Names that begin with a dot, and the files that file managers leave behind, are ignored. So are files beside the
 * folders of classes.
 *
 * @param classes names of the classes, by label, if they are known; the folders must be among them
 * @throws StepsizeError `not-found` if the folder does not exist; `invalid-file` naming the folder that is not as
 * described
 */
export async function listImageFolder(dir: string, classes?: readonly string[]): Promise<ImageFolder> {
  const folder = await listSplits(dir, classes);
  return { ...folder, splits: new Map([...folder.splits, ["all", [...folder.splits.values()].flat()]]) };
}

async function listSplits(dir: string, classes: readonly string[] | undefined): Promise<ImageFolder> {
  const top = await list(dir);
  const known = splitFolders.filter(([name]) => top.folders.includes(name));
  const hasTrain = top.folders.includes("train");
  // "train" may also be a class, beside "bus" and "car".
  const hasSplits =
    hasTrain && (known.length === top.folders.length || (await list(join(dir, "train"))).folders.length > 0);
  if (!hasSplits) {
    const part = await listClasses(dir, classes);
    return { classes: part.classes, splits: held(part, dir), bad: part.bad };
  }
  const others = top.folders.filter((name) => !known.some(([split]) => split === name));
  if (others.length > 0)
    refuse(dir, `only the folders ${splitFolders.map(([name]) => name).join(", ")} beside train/`, listed(others));
  const train = await listClasses(join(dir, "train"), classes);
  const splits = new Map<ImageSplit, readonly ImageFile[]>([["train", train.files]]);
  const bad = [...top.bad, ...train.bad];
  for (const [name, split] of known) {
    if (name === "train") continue;
    if (splits.has(split)) refuse(dir, "one folder with images for validation", listed(known.map(([other]) => other)));
    const part = await listClasses(join(dir, name), classes ?? train.classes);
    if (classes === undefined) expectSameClasses(join(dir, name), part.folders, train.classes);
    splits.set(split, part.files);
    bad.push(...part.bad);
  }
  const validation = splits.get("validation");
  if (splits.has("test")) return { classes: train.classes, splits, bad };
  // Many data sets call the images that are not trained on "val".
  if (validation) {
    const renamed = new Map<ImageSplit, readonly ImageFile[]>([
      ["train", train.files],
      ["test", validation],
    ]);
    return { classes: train.classes, splits: renamed, bad };
  }
  return { classes: train.classes, splits: held(train, join(dir, "train")), bad };
}

/** The names in a folder, sorted, by what they are. */
interface Listing {
  readonly folders: readonly string[];
  readonly files: readonly string[];
  readonly bad: readonly BadImage[];
}

/** Files that file managers and archives leave behind, apart from those whose name begins with a dot. */
const leftBehind = ["Thumbs.db", "desktop.ini", "__MACOSX"];

async function list(dir: string): Promise<Listing> {
  let entries: Dirent[];
  try {
    entries = await readdir(dir, { withFileTypes: true });
  } catch (cause) {
    if (codeOf(cause) === "ENOTDIR") refuse(dir, "a folder with one folder of images per class", "a file");
    const why = codeOf(cause) === "ENOENT" ? "there is no such folder" : `cannot be read (${messageOf(cause)})`;
    throw new StepsizeError("not-found", `${dir}: ${why}; expected a folder with one folder of images per class`, {
      cause,
    });
  }
  const folders: string[] = [];
  const files: string[] = [];
  const bad: BadImage[] = [];
  for (const entry of entries) {
    const { name } = entry;
    if (name.startsWith(".") || leftBehind.includes(name)) continue;
    const path = join(dir, name);
    const found = entry.isSymbolicLink() ? await stat(path).catch(() => undefined) : entry;
    if (found?.isDirectory()) folders.push(name);
    else if (found?.isFile()) files.push(name);
    else bad.push({ path, why: found ? "is not a regular file" : "is a broken symbolic link" });
  }
  // Sorted by code units, so that the labels are the same on every machine.
  return { folders: folders.sort(), files: files.sort(), bad };
}

interface Classes extends Pick<ImageFolder, "classes" | "bad"> {
  /** The names of the folders, which may be fewer than the classes. */
  readonly folders: readonly string[];
  readonly files: readonly ImageFile[];
}

async function listClasses(dir: string, given: readonly string[] | undefined): Promise<Classes> {
  const { folders } = await list(dir);
  const classes = given ?? folders;
  const unknown = folders.filter((name) => !classes.includes(name));
  if (given && unknown.length > 0) refuse(dir, `folders of the classes ${listed(given)}`, listed(unknown));
  if (folders.length === 0) await refuseWithoutClasses(dir);
  const files: ImageFile[] = [];
  const bad: BadImage[] = [];
  const listings: Listing[] = [];
  for (const name of folders) {
    const listing = await list(join(dir, name));
    listings.push(listing);
    const label = classes.indexOf(name);
    for (const file of listing.files) files.push({ path: join(dir, name, file), label });
    bad.push(...listing.bad);
  }
  // The most likely mistake is a path that is one level too high or too low.
  const only = folders.length === 1 && given === undefined ? itemAt(folders, 0) : undefined;
  if (only !== undefined) {
    const inside = itemAt(listings, 0).folders.length > 1 ? `; did you mean ${join(dir, only)}?` : "";
    refuse(dir, "folders of at least two classes", `one folder, ${shown(only)}${inside}`);
  }
  for (const [i, name] of folders.entries()) {
    const { folders: nested, files: own } = itemAt(listings, i);
    const folder = join(dir, name);
    if (nested.length > 0)
      refuse(
        folder,
        "only images in the folder of a class",
        `the folder${nested.length > 1 ? "s" : ""} ${listed(nested)}; the folders of splits are called train, val and test`,
      );
    if (own.length === 0) refuse(folder, "at least one image of this class", "none");
  }
  return { classes, folders, files, bad };
}

async function refuseWithoutClasses(dir: string): Promise<never> {
  const { files } = await list(dir);
  const found = files.length === 0 ? "an empty folder" : `${files.length} files and no folder`;
  return refuse(dir, "one folder of images per class, or train/ and test/ with them", found);
}

function expectSameClasses(dir: string, folders: readonly string[], classes: readonly string[]): void {
  const missing = classes.filter((name) => !folders.includes(name));
  if (missing.length > 0) refuse(dir, "the same classes as in train/", `none of the class ${listed(missing)}`);
}

/**
 * Divides the images of each class into a training and a test split. Those whose class and name have the lowest hashes
 * are the test split. The same files give the same splits on every machine, and a few more or fewer files move few of the
 * others. A class has at least one image in each split.
 */
function held({ files, classes }: Classes, dir: string): ImageFolder["splits"] {
  const byClass = new Map<number, { readonly file: ImageFile; readonly position: number }[]>();
  for (const file of files) {
    const ranked = byClass.get(file.label) ?? [];
    byClass.set(file.label, ranked);
    ranked.push({ file, position: positionOf(`${classes[file.label]}/${basename(file.path)}`) });
  }
  const inTest = new Set<ImageFile>();
  for (const [label, ranked] of byClass) {
    ranked.sort((a, b) => a.position - b.position);
    if (ranked.length === 1)
      refuse(
        join(dir, classes[label] ?? ""),
        "at least two images, because one is held back for the test split",
        "one image",
      );
    const count = Math.max(1, Math.round(testShare * ranked.length));
    for (const { file } of ranked.slice(0, count)) inTest.add(file);
  }
  return new Map<ImageSplit, readonly ImageFile[]>([
    ["train", files.filter((file) => !inTest.has(file))],
    ["test", files.filter((file) => inTest.has(file))],
  ]);
}

/** Returns a number from 0 to below 1 that depends on nothing but a name. */
function positionOf(name: string): number {
  return createHash("sha256").update(name).digest().readUIntBE(0, 6) / 2 ** 48;
}

function listed(names: readonly string[]): string {
  return someOf(names.map((name) => shown(name))).replaceAll("; ", ", ");
}

function refuse(dir: string, expected: string, found: string): never {
  throw new StepsizeError("invalid-file", `${dir}: expected ${expected}, found ${found}`);
}
