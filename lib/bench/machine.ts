import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { packageRoot, version } from "../package-root.js";
import { object, optional, Place, text } from "../schema.js";

/** Returns the date, version, commit, Node version and CPU of a measurement, for a file of results. */
export function machineFacts() {
  const cpu = cpus()[0]?.model.trim() ?? "unknown";
  return {
    date: new Date().toISOString(),
    version,
    commit: currentCommit(),
    node: process.version,
    cpu,
    cpus: cpus().length,
  };
}

const manifest = object<{ readonly gitHead?: string }>({ gitHead: optional(text) });

/**
 * Returns the commit of the clone that this runs from, or the one that a published package or a bundle was made from;
 * `null` if it is not known.
 */
export function currentCommit(): string | null {
  try {
    // An installed package can lie inside another project's repository.
    if (!existsSync(join(packageRoot, ".git"))) {
      const path = join(packageRoot, "package.json");
      return manifest(JSON.parse(readFileSync(path, "utf8")), new Place(path)).gitHead ?? null;
    }
    const about = { cwd: packageRoot, encoding: "utf8", stdio: "pipe" } as const;
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], about).trim();
  } catch {
    return null;
  }
}
