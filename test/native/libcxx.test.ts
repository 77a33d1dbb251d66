// The sources of the CPU addon compile with clang's C++ library, too. libc++ includes less of itself than libstdc++, so
// this finds a header that a file uses without including it.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { expect, test } from "vitest";
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
  const hash = createHash("sha256").update(readFileSync(join(root, "binding.gyp")));
  for (const name of readdirSync(join(root, "native"), { recursive: true, encoding: "utf8" }).sort())
    if (/\.(h|cc|def)$/.test(name)) hash.update(name).update(readFileSync(join(root, "native", name)));
  return join(root, "node_modules/.stepsize/libcxx", hash.digest("hex").slice(0, 24));
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
