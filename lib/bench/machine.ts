import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { packageRoot, version } from "../package-root.js";

/** Returns the date, version, commit, Node version and CPU of a measurement, for a file of results. */
export function machineFacts() {
  const cpu = cpus()[0]?.model.trim() ?? "unknown";
  return { date: new Date().toISOString(), version, commit: commit(), node: process.version, cpu, cpus: cpus().length };
}

/** Returns the commit of the clone that this runs from; `null` if it is not a clone. */
function commit(): string | null {
  // An installed package can lie inside another project's repository.
  if (!existsSync(join(packageRoot, ".git"))) return null;
  try {
    const about = { cwd: packageRoot, encoding: "utf8", stdio: "pipe" } as const;
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], about).trim();
  } catch {
    return null;
  }
}
