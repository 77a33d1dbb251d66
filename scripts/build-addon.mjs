// How the CPU addon is compiled: by node-gyp, or without Python by the compiler alone. Used by the set-up of a clone and
// by the installation of the package.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const prefix = join(dirname(process.execPath), "..");

/** Returns whether a command exists and succeeds. */
export function works(command, args = ["--version"]) {
  return spawnSync(command, args, { encoding: "utf8" }).status === 0;
}

/** Returns the folder of headers that was installed with Node, or undefined. */
export function nodeHeaders() {
  const folder = join(prefix, "include", "node");
  return existsSync(join(folder, "node_api.h")) ? folder : undefined;
}

/** Returns the command that rebuilds an addon with node-gyp, as `{ command, args }`. */
export function nodeGypCommand(...more) {
  // npm passes the path of its node-gyp to scripts in this variable. Outside npm there may be one beside Node or on the
  // path.
  const beside = join(prefix, "lib", "node_modules", "npm", "node_modules", "node-gyp", "bin", "node-gyp.js");
  const script = process.env.npm_config_node_gyp ?? (existsSync(beside) ? beside : undefined);
  // Without its own headers node-gyp would download them.
  const nodedir = nodeHeaders() ? [`--nodedir=${prefix}`] : [];
  const args = ["rebuild", "--jobs=2", ...more, ...nodedir];
  return script ? { command: process.execPath, args: [script, ...args] } : { command: "node-gyp", args };
}

/** Returns the command that compiles the CPU addon into `build/Release`, or `{ problem }` if something is missing. */
export function cpuAddonBuild() {
  if (!works(process.env.CXX ?? "c++"))
    return { problem: "no C++ compiler found; install one for C++20, such as g++ 12 (apt install g++)" };
  if (works("python3") && works("make")) return nodeGypCommand();
  const headers = nodeHeaders();
  if (!headers)
    return {
      problem: "without Python the headers of Node are needed, and this Node came without; install python3 and make",
    };
  const script = join(root, "scripts", "compile-addon.mjs");
  return { command: process.execPath, args: [script, headers, join(root, "build", "Release")] };
}
