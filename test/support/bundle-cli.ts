import { mkdtempSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { bundle } from "../../scripts/package/bundle.mjs";

const root = resolve(import.meta.dirname, "../..");

/**
 * Bundles the command line as it is in the package, once before the tests. They start it some hundred times, and Node
 * needs twice the CPU time to start the separate files of `dist/`.
 *
 * The folder is below the clone, because the program finds the addons from there.
 *
 * @returns a function that removes the bundle
 */
export default async function bundleCli(): Promise<() => void> {
  const folder = mkdtempSync(join(root, "node_modules", ".stepsize", "cli-"));
  await bundle(folder);
  process.env["STEPSIZE_TEST_CLI"] = join(folder, "cli", "main.js");
  return () => rmSync(folder, { recursive: true, force: true });
}
