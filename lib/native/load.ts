import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, sep } from "node:path";
import { StepsizeError } from "../errors.js";
import { packageRoot } from "../package-root.js";
import { messageOf } from "../realms.js";
import type { Addon } from "./addon.js";

const require = createRequire(import.meta.url);

/** The result of the search for an addon. */
export interface AddonReport {
  readonly name: string;
  /** The paths that were searched, in order. A path that ends with a separator is a folder of prebuilt files. */
  readonly lookedAt: readonly string[];
  /** The file that was found. */
  readonly file?: string;
  /** Why the addon could not be loaded, in one line. */
  readonly problem?: string;
  /** What to do about the problem, in one line. */
  readonly advice?: string;
  readonly addon?: Addon;
}

/** Where addons are searched. */
export interface AddonPlaces {
  /** The folder of the package. */
  readonly root: string;
  /** The folder in `STEPSIZE_ADDONS`, which comes first. */
  readonly folder?: string | undefined;
}

const platform = `${process.platform}-${process.arch}`;
const reports = new Map<string, AddonReport>();

/**
 * Searches for an addon and loads it. Does not throw.
 *
 * It searches the folder in `STEPSIZE_ADDONS` if that is set, then the build folders, then the package's prebuilt
 * files. The search is by the exact name of the addon, because a machine may have built some addons and not others.
 */
export function findAddon(name: string): AddonReport {
  const known = reports.get(name);
  if (known) return known;
  const report = searchAddon(name, { root: packageRoot, folder: process.env["STEPSIZE_ADDONS"] });
  reports.set(name, report);
  return report;
}

/** Searches for an addon in the given places and loads it, without the memory of {@link findAddon}. */
export function searchAddon(name: string, { root, folder }: AddonPlaces): AddonReport {
  const given = folder ? [join(folder, `${name}.node`)] : [];
  const built = [
    join(root, "build", "Release", `${name}.node`),
    join(root, `build-${name}`, "Release", `${name}.node`),
  ];
  const prebuilt = join(root, "addons", name);
  const lookedAt = [...given, ...built, join(prebuilt, "prebuilds", platform) + sep];
  const file = [...given, ...built].find((path) => existsSync(path)) ?? findPrebuilt(prebuilt);
  if (file === undefined) return { name, lookedAt, ...whyMissing(name, root) };
  const origin = given.includes(file) ? "given" : built.includes(file) ? "built" : "prebuilt";
  const failed = (reason: string) => {
    const problem = `${file} could not be loaded: ${reason}`;
    return { name, lookedAt, file, problem, advice: adviceFor(name, origin, root) };
  };
  let description = "";
  try {
    const facts = inspectFile(file);
    description = ` (the file is ${facts.description}; this is ${platform})`;
    if (facts.refusal) return failed(`${facts.refusal}${description}`);
    const addon: Addon = require(file);
    addon.setErrorClass(StepsizeError);
    return { name, lookedAt, file, addon };
  } catch (error) {
    // Of a message of several lines, the first has the reason.
    return failed(`${messageOf(error).split("\n", 1)[0]?.replace(`${file}: `, "")}${description}`);
  }
}

/** Returns the prebuilt file for this platform and C library; `undefined` if there is none. */
function findPrebuilt(folder: string): string | undefined {
  try {
    const gyp: { resolve(folder: string): string } = require("node-gyp-build");
    const file = gyp.resolve(folder);
    // node-gyp-build also searches beside Node's executable. A file there may be any addon.
    return file.startsWith(folder + sep) ? file : undefined;
  } catch {
    return undefined;
  }
}

function isClone(root: string): boolean {
  return existsSync(join(root, "lib"));
}

function installCommand(root: string): string {
  return `node "${join(root, "scripts", "install.mjs")}"`;
}

function whyMissing(name: string, root: string): { problem: string; advice: string } {
  const isForTests = name.startsWith("cuda-");
  if (isClone(root)) {
    const needs = name === "cpu" ? "" : isForTests ? "" : "Install nvcc of CUDA 13 and cmake. ";
    return { problem: "not built", advice: `${needs}Build it with: npm run setup${isForTests ? " -- --test" : ""}` };
  }
  if (isForTests)
    return { problem: "it is for tests and not part of the package", advice: "Use it in a clone of the repository" };
  const platforms = folderNames(join(root, "addons", name, "prebuilds"));
  const prebuilt = platforms.map((one) => (one.startsWith("linux") ? `${one} with glibc` : one)).join(", ") || "none";
  const problem = platforms.includes(platform)
    ? `${whyPrebuiltFails()}, and no other was compiled`
    : `the package has no prebuilt addon for ${platform} (prebuilt: ${prebuilt}), and none was compiled`;
  // The CUDA addon needs a toolkit of several GB, so it is not compiled at installation.
  if (name !== "cpu") return { problem, advice: 'Use the device "cpu", or build it in a clone of the repository' };
  return { problem, advice: `Install a C++20 compiler (g++ 12 or clang 14), then run: ${installCommand(root)}` };
}

/** Why a prebuilt addon for this platform was not found although there is one. */
function whyPrebuiltFails(): string {
  try {
    require.resolve("node-gyp-build");
    return `the prebuilt addon for ${platform} needs glibc, and this system has another C library`;
  } catch {
    return "the package node-gyp-build, which finds the prebuilt addon, is not installed";
  }
}

function adviceFor(name: string, origin: "given" | "built" | "prebuilt", root: string): string {
  if (origin === "given") return "Unset STEPSIZE_ADDONS, or set it to a folder with the addons of this version";
  if (isClone(root)) return "Delete the file, then run: npm run setup";
  if (name !== "cpu") return 'Install stepsize again, or use the device "cpu"';
  if (origin === "built") return `Delete the file, then run: ${installCommand(root)}`;
  return `Install stepsize again, or compile the addon with a C++20 compiler: ${installCommand(root)}`;
}

function folderNames(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

interface FileFacts {
  /** What the file is, such as `an ELF file for arm64, 5000 bytes`. */
  readonly description: string;
  /** Why the file must not be loaded. */
  readonly refusal?: string;
}

/**
 * Returns what the content of a file tells of it. Loading some files would end the process: one that was cut, and one
 * that asks for a newer Node-API than Node has.
 */
function inspectFile(file: string): FileFacts {
  const content = readFileSync(file);
  const { length } = content;
  const is = (kind: string, refusal?: string) => ({
    description: `${kind}, ${length} bytes`,
    ...(refusal && { refusal }),
  });
  const magic = length < 64 ? undefined : content.readUInt32LE(0);
  if (magic === 0xfeedfacf || magic === 0xbebafeca) return is("a macOS file");
  if (magic !== undefined && (magic & 0xffff) === 0x5a4d) return is("a Windows file");
  if (magic !== 0x464c457f) return is("no library");
  const machine = { 3: "ia32", 40: "arm", 62: "x64", 183: "arm64", 243: "riscv64" }[content.readUInt16LE(18)];
  const kind = `an ELF file for ${machine ?? "another machine"}`;
  // The table of sections is the last part of a 64-bit file.
  const sections = BigInt(content.readUInt16LE(58)) * BigInt(content.readUInt16LE(60));
  if (content[4] === 2 && length < content.readBigUInt64LE(40) + sections) return is(kind, "its end is missing");
  // The name of a function that every addon of stepsize exports.
  if (!content.includes("setErrorClass")) return is(kind, "it is not an addon of stepsize");
  return is(kind);
}

/**
 * Returns the addon of a name.
 *
 * @throws StepsizeError `not-found` with the reason, the searched paths and what to do, in three lines
 */
export function loadAddon(name: string): Addon {
  const report = findAddon(name);
  if (report.addon) return report.addon;
  throw new StepsizeError("not-found", explain(report));
}

/** Returns the problem of an addon in three lines: the reason, the searched paths, and what to do. */
export function explain({ name, problem, lookedAt, advice }: AddonReport): string {
  return `the ${name} addon: ${problem}\nLooked at: ${lookedAt.join(", ")}\n${advice}`;
}
