// Random calls of everything that the CPU addon exports, under AddressSanitizer and UndefinedBehaviorSanitizer. An
// access beyond an allocation, a use of freed memory, or an overflow ends the process with a report.
import { execFileSync } from "node:child_process";
import { existsSync, renameSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { filesUnder, fingerprint } from "../../scripts/fingerprint.mjs";
import { runProgram } from "../support/child.js";
import type { Damage } from "./damage.js";

const root = resolve(import.meta.dirname, "../..");
const headers = join(process.execPath, "../../include/node");
const program = new URL("../native/support/fuzz.ts", import.meta.url);
const flags = [
  ...["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
  // Node does not check the receiver of an accessor, so node-addon-api calls a getter of a class with an object of
  // another class. The getter detects this by the type tag of the object, before it reads a member.
  "-fno-sanitize=vptr",
];

/** The libraries that must be loaded before the addon, as the compiler finds them. Empty if it has none. */
function sanitizerLibraries(): readonly string[] {
  try {
    return ["libasan.so", "libubsan.so"].map((name) => {
      const path = execFileSync("c++", [`-print-file-name=${name}`], { encoding: "utf8" }).trim();
      if (path === name) throw new Error(`there is no ${name}`);
      return path;
    });
  } catch {
    return [];
  }
}

/** The reason why the sanitizers cannot be used here, or undefined. */
export function whyNoSanitizers(): string | undefined {
  if (process.platform !== "linux") return "LD_PRELOAD exists only on Linux";
  if (!existsSync(join(headers, "node_api.h"))) return "the headers of Node are not installed";
  return sanitizerLibraries().length === 0 ? "the C++ compiler has no libasan and libubsan" : undefined;
}

/** The folder of an addon with sanitizers. It is built if the sources have changed, which takes minutes. */
function sanitizedAddon(): string {
  const key = fingerprint([...filesUnder("native"), "binding.gyp"], flags);
  const built = join(root, "node_modules/.stepsize/sanitized");
  const folder = join(built, key.slice(0, 16));
  if (existsSync(folder)) return folder;
  rmSync(built, { recursive: true, force: true });
  const unfinished = `${folder}.unfinished`;
  console.log("  building the addon with sanitizers");
  execFileSync(process.execPath, [join(root, "scripts/compile-addon.mjs"), headers, unfinished, ...flags]);
  renameSync(unfinished, folder);
  return folder;
}

/**
 * Makes about 10,000 random calls for each seed. A seed is lost if its process does not reach the end: it crashed, a
 * sanitizer stopped it, a value that is not an Error was thrown, or a device did not compute afterwards.
 */
export async function injectRandomCalls({ from, to }: { readonly from: number; readonly to: number }): Promise<Damage> {
  const env = {
    STEPSIZE_ADDONS: sanitizedAddon(),
    LD_PRELOAD: sanitizerLibraries().join(":"),
    // V8 keeps memory until the process ends. The calls request absurd sizes on purpose, which are refused.
    ASAN_OPTIONS: "detect_leaks=0:allocator_may_return_null=1",
    UBSAN_OPTIONS: "print_stacktrace=1",
  };
  const lost: string[] = [];
  let injected = 0;
  for (let seed = from; seed < to; seed++) {
    const { code, signal, stdout, stderr } = await runProgram(program, [`${seed}`, "4000", "80"], [], env);
    const counts = /^ok (\{.*\})$/m.exec(stdout)?.[1];
    if (code === 0 && counts !== undefined) {
      const { returned, threw } = JSON.parse(counts) as { returned: number; threw: number };
      injected += returned + threw;
    } else {
      injected++;
      lost.push(`seed ${seed}: ${signal ?? `exit ${code}`}: ${stderr.slice(-2000)}`);
    }
  }
  return { injected, lost };
}
