// The prebuilt addons of the package: copied, stripped and named by prebuildify, then checked.
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import prebuildify from "prebuildify";
import { arm64Problem, arm64Tools, buildArm64Addon } from "../arm64.mjs";
import { root } from "../gyp.mjs";

/** The newest glibc that a prebuilt addon may need: that of Debian 12 and Ubuntu 22.04 or older. */
const newestGlibc = 2.34;
const exportedSymbols = ["napi_register_module_v1", "node_api_module_get_api_version_v1"];

/** The addons that set-up builds, with the file of each. */
const built = [
  { name: "cpu", file: join(root, "build", "Release", "cpu.node") },
  { name: "cuda", file: join(root, "build-cuda", "Release", "cuda.node") },
];

/**
 * Puts the addons of this machine into the package's folder, as `addons/<name>/prebuilds/<platform>/stepsize.<libc>.node`.
 * The CUDA addon is left out if it was not built, and the CPU addon for arm64 if there is no cross compiler.
 *
 * prebuildify compiles nothing here. It gets the files that set-up built from the same sources, so the package contains
 * the files that were tested.
 */
export async function addPrebuiltAddons(folder) {
  const added = [];
  for (const { name, file } of built) {
    if (!existsSync(file)) {
      if (name === "cpu") throw new Error(`${file} does not exist; build it with: npm run setup`);
      continue;
    }
    const work = mkdtempSync(join(tmpdir(), "stepsize-prebuild-"));
    try {
      const release = join(work, "build", "Release");
      mkdirSync(release, { recursive: true });
      copyFileSync(file, join(release, `${name}.node`));
      await promisify(prebuildify)({
        cwd: work,
        out: work,
        // In place of node-gyp.
        nodeGyp: "true",
        targets: [{ runtime: "node", target: process.versions.node }],
        name: "stepsize",
        napi: true,
        tagLibc: true,
        strip: true,
        quiet: true,
      });
      const path = join("prebuilds", `${process.platform}-${process.arch}`, `stepsize.${libc}.node`);
      const target = join(folder, "addons", name, path);
      mkdirSync(join(target, ".."), { recursive: true });
      // Not renamed, because the temporary folder may be on another disk.
      copyFileSync(join(work, path), target);
      chmodSync(target, 0o755);
      added.push({ name, file: target, bytes: statSync(target).size, glibc: checkAddon(target) });
    } finally {
      rmSync(work, { recursive: true });
    }
  }
  if (arm64Problem() === undefined) added.push(addArm64Addon(folder));
  return added;
}

/** Adds the CPU addon for Linux arm64, which a cross compiler makes. It cannot be loaded here. */
function addArm64Addon(folder) {
  const built = join(buildArm64Addon().folder, "cpu.node");
  const target = join(folder, "addons", "cpu", "prebuilds", "linux-arm64", "stepsize.glibc.node");
  mkdirSync(join(target, ".."), { recursive: true });
  execFileSync(`${arm64Tools}strip`, ["--strip-unneeded", built, "-o", target]);
  chmodSync(target, 0o755);
  return { name: "cpu, arm64", file: target, bytes: statSync(target).size, glibc: checkContent(target, arm64Tools) };
}

const libc = existsSync("/etc/alpine-release") ? "musl" : "glibc";

/** Checks a stripped addon of this machine. Returns the oldest glibc that it runs on. */
export function checkAddon(file) {
  const needed = checkContent(file);
  // In a process of its own. An addon that loads without a GPU describes what is missing.
  const { status, stderr } = spawnSync(process.execPath, ["-e", "require(process.argv[1]).describe()", file], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`${file}: cannot be loaded: ${/^Error: (.*)$/m.exec(stderr)?.[1] ?? stderr}`);
  return needed;
}

/** Checks the symbols and the content of a stripped addon. Returns the oldest glibc that it runs on. */
function checkContent(file, tools = "") {
  const tool = (command, ...args) =>
    execFileSync(`${tools}${command}`, [...args, file], { encoding: "utf8", maxBuffer: 2 ** 26 });
  const symbols = tool("nm", "-D", "--defined-only")
    .trim()
    .split("\n")
    .map((line) => line.split(/\s+/).at(-1));
  if (symbols.sort().join() !== exportedSymbols.join())
    throw new Error(`${file}: expected only the symbols ${exportedSymbols.join(", ")}, found ${symbols.join(", ")}`);
  const content = readFileSync(file);
  for (const path of [root, homedir() === "/" ? root : `${homedir()}/`, "node_modules/"])
    if (content.includes(path)) throw new Error(`${file}: contains the path ${path} of the build machine`);
  const versions = [...tool("objdump", "-T").matchAll(/\(?GLIBC_(2\.\d+)/g)].map(([, version]) => version);
  const needed = versions.sort((a, b) => Number(a.slice(2)) - Number(b.slice(2))).at(-1) ?? "none";
  if (Number(needed.slice(2)) > Number(String(newestGlibc).slice(2)))
    throw new Error(`${file}: needs glibc ${needed}; expected at most ${newestGlibc}`);
  return needed;
}
