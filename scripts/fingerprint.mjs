// Fingerprints of the files and settings that a product was made from. A product is kept until its fingerprint changes.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");

/**
 * The files of a folder and of its subfolders, in a fixed order. Empty if the folder does not exist.
 *
 * @param {string} folder a path from the repository's root
 * @param {RegExp} [pattern] selects files by their paths from the repository's root; all by default
 * @returns {string[]} paths from the repository's root
 */
export function filesUnder(folder, pattern = /^/) {
  const path = join(root, folder);
  if (!existsSync(path)) return [];
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)))
    .filter((file) => pattern.test(file))
    .sort();
}

/**
 * A C++ source and the files that it includes by quoted names, directly or not, in a fixed order. Names that are not
 * found beside the including file, such as those of another platform, are left out.
 *
 * @param {string} source a path from the repository's root, or an absolute one
 * @returns {string[]} paths from the repository's root
 */
export function withIncludes(source) {
  const found = new Set([relative(root, resolve(root, source))]);
  // Files that are added during the loop are visited too.
  for (const file of found)
    for (const [, name] of readFileSync(join(root, file), "utf8").matchAll(/^\s*#\s*include\s*"([^"]+)"/gm)) {
      const included = join(dirname(file), name);
      if (existsSync(join(root, included))) found.add(included);
    }
  return [...found].sort();
}

/**
 * A hash of the names and contents of files, and of other values such as a compiler's version and flags.
 *
 * @param {readonly string[]} files paths from the repository's root, or absolute ones
 * @param {...(string | boolean | readonly string[])} values
 * @returns {string} 64 hexadecimal digits
 */
export function fingerprint(files, ...values) {
  const hash = createHash("sha256").update(JSON.stringify(values));
  for (const file of files) {
    const path = resolve(root, file);
    hash.update("\0").update(relative(root, path)).update("\0").update(readFileSync(path));
  }
  return hash.digest("hex");
}
