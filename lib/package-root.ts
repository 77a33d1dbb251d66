import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

interface FoundPackage {
  readonly root: string;
  readonly version: string;
}

/** Returns the name and the version in a folder's package.json; `undefined` if there is no valid file. */
function readManifest(folder: string): { name?: unknown; version?: unknown } | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  } catch {
    return undefined;
  }
}

/**
 * Finds the package that a folder belongs to. The depth of the folder differs: a clone has `dist/<folder>/<file>.js`,
 * the published package has `dist/chunks/<file>.js`.
 *
 * Does not throw, because it runs at import. A program that contains stepsize as a part of its own bundle gets the
 * folder of the bundle.
 */
export function findPackage(start: string): FoundPackage {
  for (let folder = start; ; folder = dirname(folder)) {
    const manifest = readManifest(folder);
    if (manifest?.name === "stepsize") return { root: folder, version: String(manifest.version) };
    if (folder === dirname(folder)) return { root: start, version: "unknown" };
  }
}

const found = findPackage(dirname(fileURLToPath(import.meta.url)));

/** The folder of this package: a clone of the repository, or the installed package. */
export const packageRoot: string = found.root;

/** The version of this package. */
export const version: string = found.version;
