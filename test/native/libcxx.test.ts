// The sources of the CPU addon compile with clang's C++ library, too. libc++ includes less of itself than libstdc++, so
// this finds a header that a file uses without including it.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { expect, test } from "vitest";
import { filesUnder, fingerprint } from "../../scripts/fingerprint.mjs";
import { readTargets } from "../../scripts/gyp.mjs";

const root = resolve(import.meta.dirname, "../..");
const headers = join(process.execPath, "../../include/node");

function clang(args: readonly string[], input = "") {
  const options = { cwd: root, input, encoding: "utf8", maxBuffer: 1 << 26 } as const;
  const { status, stderr } = spawnSync("clang++", ["-stdlib=libc++", "-fsyntax-only", ...args], options);
  return { status, output: String(stderr) };
}

function whyNot(): string {
  if (spawnSync("clang++", ["--version"]).status !== 0) return " (skipped: clang++ is not installed)";
  if (clang(["-xc++", "-"], "#include <vector>\n").status !== 0) return " (skipped: libc++ is not installed)";
  return existsSync(join(headers, "node_api.h")) ? "" : " (skipped: this Node came without its headers)";
}
const why = whyNot();

/** The path of an empty file that exists if these sources have passed before. */
function stamp(): string {
  const key = fingerprint(["binding.gyp", ...filesUnder("native", /\.(h|cc|def)$/)]).slice(0, 24);
  return join(root, "node_modules/.stepsize/libcxx", key);
}

test.skipIf(why)(`the CPU addon compiles with clang and libc++${why}`, () => {
  const passed = stamp();
  if (existsSync(passed)) return;
  for (const { sources, flags } of readTargets()) {
    // Each file is checked by itself, because a header that one file includes would serve those after it.
    const { status, output } = clang([...flags, `-isystem${headers}`, ...sources]);
    expect(status, output.slice(-4000)).toBe(0);
  }
  mkdirSync(dirname(passed), { recursive: true });
  writeFileSync(passed, "");
});
