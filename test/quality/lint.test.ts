import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { expect, test } from "vitest";
import { filesUnder, fingerprint } from "../../scripts/fingerprint.mjs";
import { temporaryFolders } from "../support/folders.js";

const root = resolve(import.meta.dirname, "../..");

function run(command: string, args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: root, encoding: "utf8", maxBuffer: 1 << 26 });
  return { status, output: `${stdout}${stderr}` };
}

function expectClean(command: string, args: readonly string[]): void {
  const { status, output } = run(command, args);
  expect(status, output.slice(-4000)).toBe(0);
}

const has = (tool: string) => spawnSync(tool, ["--version"]).status === 0;
// The tools are Debian packages of the same names, which .ci/run installs.
const needs = (tool: string) => (has(tool) ? "" : ` (skipped: ${tool} is not installed)`);

test("TypeScript is linted and formatted", () => {
  expectClean("node_modules/.bin/biome", ["ci", "--error-on-warnings", "."]);
});

test("tests, benchmarks and examples pass the strict type check", () => {
  expectClean("node_modules/.bin/tsc", ["-p", "tsconfig.check.json"]);
});

test.skipIf(!has("clang-format"))(`C++ is formatted${needs("clang-format")}`, () => {
  expectClean(process.execPath, ["scripts/format-native.mjs", "--check"]);
});

// One instruction set is enough, because the others differ only in the names of intrinsics.
const [instructionSet, instructionFlags] = process.arch === "x64" ? ["avx2", ["-mavx2", "-mfma"]] : ["portable", []];
const linted = filesUnder("native", /\.(cc|cu)$/).filter(
  (name) => !/kernels_/.test(name) || name.includes(`kernels_${instructionSet}`),
);
// The files of a folder are checked as one source, because most of the time is spent on their shared headers.
const units = [...new Set(linted.map((name) => dirname(name)))].map(
  (folder) => [folder, linted.filter((name) => dirname(name) === folder)] as const,
);
const folder = temporaryFolders();

/** The path of an empty file that exists if clang-tidy found nothing in a unit of exactly these files before. */
function stampOf(name: string): string {
  const sources = ["native", "test/emulator"].flatMap((folder) => filesUnder(folder, /\.(h|cuh|cc|cu)$/));
  const files = [...sources, ".clang-tidy", "test/quality/lint.test.ts"];
  const key = fingerprint(files, run("clang-tidy", ["--version"]).output).slice(0, 24);
  return join(root, "node_modules/.stepsize/linted", `${name.replaceAll("/", "-")}-${key}`);
}

test.skipIf(!has("clang-tidy")).each(units)(`%s is linted${needs("clang-tidy")}`, (name, files) => {
  const stamp = stampOf(name);
  if (existsSync(stamp)) return;
  const unit = join(folder(), "unit.cc");
  writeFileSync(unit, files.map((file) => `#include "${join(root, file)}"\n`).join(""));
  const headers = join(process.execPath, "../../include/node");
  const flags = ["-xc++", "-std=c++20", ...instructionFlags, "-Inode_modules/node-addon-api", `-isystem${headers}`];
  // CUDA files are compiled for the emulator, because CUDA's headers may not be installed.
  const defines = [
    "-DNAPI_VERSION=8",
    "-DNODE_ADDON_API_CPP_EXCEPTIONS_ALL",
    "-DSTEPSIZE_EMULATED",
    "-Itest/emulator",
    "-Wno-unknown-pragmas",
  ];
  // The path-sensitive analysis would spend a minute in the emulator there.
  const checks = name === "native/cuda" ? ",-clang-analyzer-*" : "";
  const options = ["--quiet", "--config-file=.clang-tidy", `--checks=-bugprone-suspicious-include${checks}`];
  expectClean("clang-tidy", [...options, unit, "--", ...flags, ...defines]);
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, "");
});
