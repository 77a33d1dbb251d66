// Packs what another machine needs to run `stepsize check`: Node, the library, the addons. It needs no Node there, no
// compiler and no network.
import { type ChildProcessByStdio, execFile, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { access, chmod, constants, cp, mkdir, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { createGzip } from "node:zlib";
import { currentCommit } from "../bench/index.js";
import { invalidArgument, StepsizeError } from "../errors.js";
import { replaceFile } from "../files/atomic-file.js";
import { findAddon } from "../native/index.js";
import { packageRoot, version } from "../package-root.js";
import { readJsonFile } from "../read-file.js";
import { messageOf } from "../realms.js";
import { dictionary, object, optional, text } from "../schema.js";
import { findProgram } from "./hardware.js";

/** What {@link writeBundle} reports while it works. */
export interface BundleObserver {
  /** A step begins. */
  step(text: string): void;
  /** Something is missing in the bundle or larger than it could be. */
  note(text: string): void;
}

/** Rough size of an archive, for the message of a full disk. */
const expectedBytes = 45e6;

/** The folder in the archive. */
const folder = "stepsize-check";

/** Addons with the places where the library finds them first. */
const addonPlaces = { cpu: "build/Release/cpu.node", cuda: "build-cuda/Release/cuda.node" } as const;

const script = `#!/bin/sh
# Runs stepsize with the Node of this folder.
case $0 in */*) here=\${0%/*} ;; *) here=. ;; esac
exec "$here/node" "$here/package/dist/cli/main.js" "$@"
`;

const readme = `stepsize ${version} for ${process.platform} ${process.arch}, with Node ${process.version}

It needs glibc and libstdc++ and, for a GPU, NVIDIA's driver. It needs no network. Run in this folder:

    ./stepsize check --device cuda:0 --bench

That prints a table and writes stepsize-check-<device>-<date>.json. ./stepsize check --help lists the options.
`;

/**
 * Writes an archive from which `stepsize check` runs on a machine of this platform.
 *
 * @param file path of the archive, which ends with `.tar.xz` or `.tar.gz`. An existing file is replaced.
 * @returns the size of the archive in bytes
 * @throws StepsizeError `invalid-argument` if the name has another ending; `unsupported` if a program is missing or if
 * this Node needs a library of its own; `not-found` if the library is not compiled; `invalid-file` if the file cannot be
 * written
 */
export async function writeBundle(file: string, observer: BundleObserver): Promise<number> {
  const compressor = compressorFor(file);
  const tar = requireProgram("tar", "it packs the archive");
  const { variables } = process.config;
  if ("node_shared" in variables && variables.node_shared === true)
    throw new StepsizeError("unsupported", "this Node needs libnode.so; use one from nodejs.org, which is one file");
  const target = dirname(file);
  await access(target, constants.W_OK).catch(() => {
    invalidArgument("--bundle", "a file in a writable folder", file);
  });
  const work = await mkdtemp(join(tmpdir(), "stepsize-bundle-"));
  try {
    observer.step("copying Node, the library and the addons");
    await fill(join(work, folder), observer);
    observer.step(`compressing with ${compressor.name}`);
    await pack(file, start(tar, ["-C", work, "-cf", "-", folder]), compressor);
    return (await stat(file)).size;
  } finally {
    await rm(work, { recursive: true });
  }
}

/** A compressor with a name for messages. */
interface Compressor {
  readonly name: string;
  /** Path of the program; absent if Node compresses. */
  readonly program?: string;
}

function compressorFor(file: string): Compressor {
  if (file.endsWith(".tar.gz")) return { name: "gzip" };
  if (!file.endsWith(".tar.xz")) invalidArgument("--bundle", "a name that ends with .tar.xz or .tar.gz", file);
  return { name: "xz", program: requireProgram("xz", "without it, use a name that ends with .tar.gz") };
}

function requireProgram(name: string, reason: string): string {
  const found = findProgram(name);
  if (found === undefined) throw new StepsizeError("unsupported", `--bundle needs the program ${name}: ${reason}`);
  return found;
}

/** Puts everything into the folder of the archive. */
async function fill(target: string, { note }: BundleObserver): Promise<void> {
  const root = join(target, "package");
  const main = join("dist", "cli", "main.js");
  if (!existsSync(join(packageRoot, main)))
    throw new StepsizeError("not-found", `${join(packageRoot, main)} does not exist; compile it with: npm run setup`);
  // Declarations and source maps are for development.
  const isUsed = (path: string) => !/\.(d\.c?ts|map)$/.test(path) && !path.endsWith(join("dist", "types"));
  await cp(join(packageRoot, "dist"), join(root, "dist"), { recursive: true, filter: isUsed });
  await copyFiles(root, ["LICENSE", "THIRD-PARTY-LICENSES", join("bench", "peers", "torch_peer.py")]);
  for (const name of await neededPackages())
    await cp(join(packageRoot, "node_modules", name), join(root, "node_modules", name), {
      recursive: true,
      dereference: true,
      filter: isUsed,
    });
  const gitHead = currentCommit();
  // The commands know the package by its name, and the report has the commit.
  const manifest = { name: "stepsize", version, type: "module", private: true, ...(gitHead !== null && { gitHead }) };
  await writeFile(join(root, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  const binaries = [join(target, "node")];
  await cp(process.execPath, join(target, "node"), { dereference: true });
  for (const [name, place] of Object.entries(addonPlaces)) {
    const { file, problem } = findAddon(name);
    if (file === undefined) {
      note(`without the ${name} addon: ${problem}`);
      continue;
    }
    await mkdir(dirname(join(root, place)), { recursive: true });
    await cp(file, join(root, place), { dereference: true });
    binaries.push(join(root, place));
  }
  await strip(binaries, note);
  await writeFile(join(target, "README"), readme);
  await writeFile(join(target, "stepsize"), script);
  for (const path of [join(target, "node"), join(target, "stepsize")]) await chmod(path, 0o755);
}

/** Copies the files of the package that exist. A clone and an installed package differ in some. */
async function copyFiles(root: string, paths: readonly string[]): Promise<void> {
  for (const path of paths)
    if (existsSync(join(packageRoot, path)))
      await cp(join(packageRoot, path), join(root, path), { recursive: true, dereference: true });
}

/** Removes the symbols of debuggers, which are a quarter of Node. */
async function strip(binaries: readonly string[], note: (text: string) => void): Promise<void> {
  const program = findProgram("strip");
  if (program === undefined) {
    note("Node is not stripped, because the program strip (binutils) was not found");
    return;
  }
  for (const path of binaries)
    await promisify(execFile)(program, ["--strip-unneeded", path]).catch((error: unknown) => {
      note(`not stripped: ${messageOf(error)}`);
    });
}

const manifestSchema = object<{ readonly dependencies?: Readonly<Record<string, string>> }>({
  dependencies: optional(dictionary(text)),
});

/**
 * Returns the names of the packages that the library of a clone imports, and of those that they depend on. The
 * published package contains them.
 */
async function neededPackages(): Promise<Set<string>> {
  const needed = new Set<string>();
  const add = async (name: string) => {
    const manifest = join(packageRoot, "node_modules", name, "package.json");
    // A dependency that is not there lies in the folder of the package that needs it.
    if (needed.has(name) || !existsSync(manifest)) return;
    needed.add(name);
    const { dependencies = {} } = await readJsonFile(manifest, manifestSchema);
    for (const dependency of Object.keys(dependencies)) await add(dependency);
  };
  for (const name of importedPackages(join(packageRoot, "dist"))) await add(name);
  return needed;
}

/** Returns the names of the packages in the import statements and `import()` calls of a folder's modules. */
function importedPackages(folder: string): Set<string> {
  const modules = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".js"));
  const specifiers = modules.flatMap((path) =>
    [...readFileSync(join(folder, path), "utf8").matchAll(/\b(?:from|import)\s*\(?\s*"([^".#][^"]*)"/g)].flatMap(
      ([, specifier]) => specifier ?? [],
    ),
  );
  return new Set(specifiers.flatMap((specifier) => /^(@[^/]+\/)?[^/:]+(?=\/|$)/.exec(specifier)?.[0] ?? []));
}

/** A program whose output is read. */
interface RunningProgram {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  /** Rejects with the last line of standard error if the program fails. */
  readonly ended: Promise<void>;
}

function start(program: string, args: readonly string[]): RunningProgram {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (piece: string) => {
    said = (said + piece).slice(-1000);
  });
  const ended = new Promise<void>((resolve, reject) => {
    const fail = (reason: string) => reject(new StepsizeError("unsupported", `${program} failed: ${reason}`));
    child.on("error", (error) => fail(error.message));
    child.on("close", (code, signal) => {
      if (code === 0) resolve();
      else fail(said.trim().split("\n").at(-1) || `it ended with ${signal ?? `code ${code}`}`);
    });
  });
  // If the file cannot be written, nobody waits for the program.
  ended.catch(() => {});
  return { child, ended };
}

/** Writes the output of tar to a file, compressed. */
async function pack(file: string, tar: RunningProgram, { program }: Compressor): Promise<void> {
  const xz = program === undefined ? undefined : start(program, ["-T0", "-6", "-c"]);
  const gzip = createGzip({ level: 9 });
  const compressed: Readable = xz ? xz.child.stdout : gzip;
  const passed = pipeline(tar.child.stdout, xz ? xz.child.stdin : gzip);
  passed.catch(() => {});
  try {
    await replaceFile(file, expectedBytes, async ({ append }) => {
      for await (const part of compressed) await append(part);
      await Promise.all([passed, tar.ended, xz?.ended]);
    });
  } finally {
    // After an error, output that is not read any more would keep the process alive.
    for (const running of [tar, xz]) {
      running?.child.kill();
      running?.child.stdout.destroy();
    }
    gzip.destroy();
  }
}
