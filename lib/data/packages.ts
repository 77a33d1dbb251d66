import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { StepsizeError } from "../errors.js";

/**
 * The path of a module or file in a package that stepsize does not depend on: its user installs it.
 *
 * @param wantedBy what needs it, for the error
 * @throws `not-found` where the package is not installed, or has no such file
 */
export function resolveInPackage(name: string, file: string, wantedBy: string): string {
  // The working directory too: stepsize may be linked or installed apart from the program that uses it.
  const paths = [fileURLToPath(new URL(".", import.meta.url)), process.cwd()];
  try {
    return createRequire(import.meta.url).resolve(`${name}/${file}`, { paths });
  } catch (cause) {
    const message = `the package ${name}, looked for from ${paths.join(" and ")}, is not installed`;
    throw new StepsizeError("not-found", `${wantedBy}: ${message}; install it with: npm install ${name}`, { cause });
  }
}
