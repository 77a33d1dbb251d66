// Runs nvcc and the tools beside it.
import { spawnSync } from "node:child_process";
import { root } from "./gyp.mjs";

// The same flags as in CMakeLists.txt.
export const flags = ["-std=c++17", "-O3", "-fmad=false"];

/** Runs a command in the root of the clone and returns what it printed. */
export function run(command, ...args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? stderr}`);
  return `${stdout}${stderr}`;
}
