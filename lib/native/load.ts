import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { StepsizeError } from "../errors.js";
import { messageOf } from "../realms.js";
import type { Addon } from "./addon.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const require = createRequire(import.meta.url);

/** The result of the search for an addon. */
export interface AddonReport {
  readonly name: string;
  /** The paths that were searched, in order. */
  readonly lookedAt: readonly string[];
  /** The file that was found. */
  readonly file?: string;
  /** Why the addon could not be loaded. */
  readonly problem?: string;
  readonly addon?: Addon;
}

const reports = new Map<string, AddonReport>();

/**
 * Searches for an addon and loads it.
 *
 * It searches the folder in `STEPSIZE_ADDONS` if that is set, then the build folders, then the package's prebuilt
 * files. The search is by the exact name of the addon, because a machine may have built some addons and not others.
 */
export function findAddon(name: string): AddonReport {
  const known = reports.get(name);
  if (known) return known;
  const { STEPSIZE_ADDONS: folder } = process.env;
  const lookedAt = [
    ...(folder ? [join(folder, `${name}.node`)] : []),
    join(root, "build", "Release", `${name}.node`),
    join(root, `build-${name}`, "Release", `${name}.node`),
    join(root, "prebuilds", `${process.platform}-${process.arch}`, `${name}.node`),
  ];
  const report = load(name, lookedAt);
  reports.set(name, report);
  return report;
}

function load(name: string, lookedAt: readonly string[]): AddonReport {
  const file = lookedAt.find((path) => existsSync(path));
  if (!file) return { name, lookedAt, problem: "not built" };
  try {
    const addon: Addon = require(file);
    addon.setErrorClass(StepsizeError);
    return { name, lookedAt, file, addon };
  } catch (error) {
    return { name, lookedAt, file, problem: messageOf(error) };
  }
}

/**
 * Returns the addon of a name.
 *
 * @throws StepsizeError `not-found` with the searched paths and the reason
 */
export function loadAddon(name: string): Addon {
  const report = findAddon(name);
  if (report.addon) return report.addon;
  const where = report.file ?? report.lookedAt.join(", ");
  throw new StepsizeError(
    "not-found",
    `the ${name} addon could not be loaded: ${report.problem} (looked at ${where}). Build it with: npm run setup`,
  );
}
