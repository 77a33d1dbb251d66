import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { StepsizeError } from "../errors.js";
import { messageOf } from "../realms.js";
import type { Addon } from "./addon.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const require = createRequire(import.meta.url);

/** What became of looking for an addon. */
export interface AddonReport {
  readonly name: string;
  /** Every place that was looked at, in order. */
  readonly lookedAt: readonly string[];
  /** The file that was loaded. */
  readonly file?: string;
  /** Why it could not be loaded. */
  readonly problem?: string;
  readonly addon?: Addon;
}

const reports = new Map<string, AddonReport>();

/**
 * Looks for an addon by its exact name: first in the folder that `STEPSIZE_ADDONS` names, if it does, then what was
 * built here, then a prebuilt file of the package. By name, not by tags: a machine may have one addon built and another
 * one not.
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
    const addon = require(file) as Addon;
    addon.setErrorClass(StepsizeError);
    return { name, lookedAt, file, addon };
  } catch (error) {
    return { name, lookedAt, file, problem: messageOf(error) };
  }
}

/**
 * The addon of this name.
 * @throws StepsizeError `not-found` with the places that were looked at and what went wrong.
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
