import { createRequire } from "node:module";
import { StepsizeError } from "../errors.js";
import { packageRoot } from "../package-root.js";

/**
 * Resolves a file of an optional package, which the user installs.
 *
 * @param file path of the file in the package; empty for the package itself
 * @param wantedBy what needs the package, for the error message
 * @throws StepsizeError `not-found` if the package is not installed or has no such file
 */
export function resolveInPackage(name: string, file: string, wantedBy: string): string {
  // The working directory is searched too, because stepsize may be linked or installed elsewhere than the program.
  const paths = [packageRoot, process.cwd()];
  try {
    return createRequire(import.meta.url).resolve(file === "" ? name : `${name}/${file}`, { paths });
  } catch (cause) {
    const message = `the package ${name}, looked for from ${paths.join(" and ")}, is not installed`;
    throw new StepsizeError("not-found", `${wantedBy}: ${message}; install it with: npm install ${name}`, { cause });
  }
}
