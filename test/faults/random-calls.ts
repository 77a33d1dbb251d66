// Random calls of everything the CPU addon exports, with the addon compiled for AddressSanitizer and
// UndefinedBehaviorSanitizer: Node itself is not instrumented, so their libraries are preloaded.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { runProgram } from "../support/child.js";
import type { Damage } from "./damage.js";

const root = resolve(import.meta.dirname, "../..");
const headers = join(process.execPath, "../../include/node");
const folder = join(root, "node_modules/.stepsize/sanitized");
const flags = ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

/** Where the compiler has a sanitizer's library; `undefined` if it has none. */
function libraryOf(name: string): string | undefined {
  const path = spawnSync("g++", [`-print-file-name=${name}`], { encoding: "utf8" }).stdout?.trim();
  return path?.startsWith("/") ? path : undefined;
}

const libraries = [libraryOf("libasan.so"), libraryOf("libubsan.so")];

/** Why the addon cannot be built and run with sanitizers here, if so. */
export function whyNoSanitizers(): string | undefined {
  if (libraries.includes(undefined)) return "g++ has no libasan and libubsan";
  return existsSync(join(headers, "node_api.h")) ? undefined : "this Node came without its headers";
}

/** Builds the addon unless it is there and was made from the same sources. */
function build(): void {
  const hash = createHash("sha256").update(flags.join(" "));
  for (const name of ["native", "binding.gyp", "scripts"])
    for (const file of filesUnder(join(root, name))) hash.update(file).update(readFileSync(file));
  const key = hash.digest("hex");
  const stamp = join(folder, "key");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === key) return;
  mkdirSync(folder, { recursive: true });
  const script = join(root, "scripts/compile-addon.mjs");
  const { status, stderr } = spawnSync(process.execPath, [script, headers, folder, ...flags], { encoding: "utf8" });
  if (status !== 0) throw new Error(`the addon was not built with sanitizers:\n${stderr.slice(-4000)}`);
  writeFileSync(stamp, key);
}

function filesUnder(path: string): string[] {
  if (/\.gyp$/.test(path)) return [path];
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** How many calls have one seed, and so one process. */
const callsOfASeed = 5000;

/** Makes calls number `from` to before `to`, some thousand to a process. Lost is a process that a sanitizer ends. */
export async function injectRandomCalls({ from, to }: { readonly from: number; readonly to: number }): Promise<Damage> {
  build();
  const env = {
    STEPSIZE_ADDONS: folder,
    LD_PRELOAD: libraries.join(":"),
    // Node's own memory is not to be reported, and what V8 maps must fit beside the shadow.
    ASAN_OPTIONS: "detect_leaks=0:allocator_may_return_null=1",
  };
  const lost: string[] = [];
  for (let call = from; call < to; call += callsOfASeed) {
    const calls = Math.min(callsOfASeed, to - call);
    const program = new URL("../native/support/fuzz.ts", import.meta.url);
    const { code, signal, stdout, stderr } = await runProgram(program, [`${call + 1}`, `${calls}`, "20"], [], env);
    if (code !== 0 || !stdout.startsWith("ok"))
      lost.push(`seed ${call + 1}: ${signal ?? `exit ${code}`}: ${stderr.slice(0, 2000)}`);
  }
  return { injected: to - from, lost };
}
