import { execFileSync } from "node:child_process";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { version } from "../version.js";

/** What a file of results says of when, with what and where it was measured. */
export function machineFacts() {
  const cpu = cpus()[0]?.model.trim() ?? "unknown";
  return { date: new Date().toISOString(), version, commit: commit(), node: process.version, cpu, cpus: cpus().length };
}

/** Where this runs from a clone, its commit. */
function commit(): string | null {
  const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
  try {
    const about = { cwd: root, encoding: "utf8", stdio: "pipe" } as const;
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], about).trim();
  } catch {
    return null;
  }
}
