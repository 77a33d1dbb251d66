// The CPU addon for Linux arm64, compiled on another machine by Debian's cross compiler (g++-aarch64-linux-gnu).
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { nodeHeaders, works } from "./build-addon.mjs";
import { filesUnder, fingerprint } from "./fingerprint.mjs";
import { root } from "./gyp.mjs";

/** The start of the names of the cross compiler and its tools. */
export const arm64Tools = "aarch64-linux-gnu-";
const compiler = `${arm64Tools}g++`;

/** The folder of what is made for arm64. */
export const arm64Cache = join(root, "node_modules", ".stepsize", "arm64");
const folder = join(arm64Cache, "Release");

/** Returns why the addon cannot be compiled here; undefined if it can. */
export function arm64Problem() {
  if (!works(compiler)) return `${compiler} was not found: apt install g++-aarch64-linux-gnu`;
  return nodeHeaders() ? undefined : "this Node came without its headers";
}

/**
 * Compiles the addon unless it is up to date. {@link arm64Problem} must have found none.
 *
 * @returns the folder with `cpu.node`, and whether it was compiled now
 * @throws Error with the compiler's output
 */
export function buildArm64Addon() {
  const sources = [...filesUnder("native", /^native\/(?!cuda\/)/), ...filesUnder("scripts", /^scripts\/[\w-]+\.mjs$/)];
  const [stamp, wanted] = [join(arm64Cache, "addon"), fingerprint([...sources, "binding.gyp"])];
  const isCurrent = existsSync(stamp) && readFileSync(stamp, "utf8") === wanted;
  if (isCurrent) return { folder, isNew: false };
  rmSync(stamp, { force: true });
  mkdirSync(folder, { recursive: true });
  // The headers of Node are the same for every architecture.
  const args = [join(root, "scripts", "compile-addon.mjs"), nodeHeaders(), folder, "--target-arch=arm64"];
  const env = { ...process.env, CXX: compiler };
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, env, encoding: "utf8" });
  if (status !== 0) throw new Error(`the addon for arm64 does not compile\n${stdout}${stderr}`);
  writeFileSync(stamp, wanted);
  return { folder, isNew: true };
}
