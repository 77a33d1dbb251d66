// Sets up a fresh clone: dependencies, the CPU addon, the CUDA addon if its compiler is installed, and the compiled
// TypeScript. A step runs only if its inputs have changed, so this can run before every `npm start` and `npm test`.
// Needs only Node and npm. --tools adds the packages of tests, checks, benchmarks and packaging. --test adds the emulated
// CUDA addon and, if clang is installed, both addons compiled by clang. --bench adds the baselines of benchmarks. Both
// include --tools.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { cpuAddonBuild, nodeGypCommand, nodeHeaders, works } from "./build-addon.mjs";
import { installDependencies, removeIncomplete } from "./dependencies.mjs";
import { filesUnder, fingerprint } from "./fingerprint.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const stamps = join(root, "node_modules", ".stepsize");

function run(command, args, variables = {}) {
  // npm's own scripts put its node-gyp on the path. The output is shown only if the command fails.
  const env = { ...process.env, ...variables };
  const result = spawnSync(command, args, { cwd: root, env, encoding: "utf8", maxBuffer: 1 << 28 });
  if (result.status === 0) return;
  process.stderr.write(`${result.stdout ?? ""}${result.stderr ?? ""}`);
  const reason = result.error ? result.error.message : `exit code ${result.status}`;
  console.error(`\nset-up failed: ${command} ${args.join(" ")} (${reason})`);
  process.exit(1);
}

/** Runs a command that may fail. If it does, the end of its output is shown. */
function attempt(command, args) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: root, encoding: "utf8", maxBuffer: 1 << 28 });
  if (status === 0) return true;
  const output = `${stdout ?? ""}${stderr ?? ""}`.trim().split("\n").slice(-15).join("\n");
  console.error(` failed; continuing without it.\n${output}`);
  return false;
}

/**
 * Allows one set-up at a time in a clone, because two would build into the same folder. The lock of a dead process is
 * taken over.
 */
function lock() {
  const path = join(stamps, "lock");
  mkdirSync(stamps, { recursive: true });
  for (let waited = 0; ; waited++) {
    try {
      writeFileSync(path, String(process.pid), { flag: "wx" });
      process.on("exit", () => rmSync(path, { force: true }));
      return;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    const owner = Number(readFileSync(path, { encoding: "utf8", flag: "a+" }));
    if (waited > 10 && !isAlive(owner)) rmSync(path, { force: true });
    else if (waited === 10) console.error(`set-up: waiting for another set-up (process ${owner}) ...`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  }
}

function isAlive(pid) {
  try {
    return pid > 0 && process.kill(pid, 0);
  } catch (error) {
    return error.code === "EPERM";
  }
}

/** The file with the fingerprint of a step's inputs when it last succeeded. */
function stampOf(name) {
  return join(stamps, name.replaceAll(" ", "-"));
}

/** Runs `work` unless `product` exists and was made from the same inputs with the same settings. */
function step(name, { inputs, settings = [], product, work }) {
  const stamp = stampOf(name);
  const wanted = fingerprint(inputs, ...settings);
  if (existsSync(product) && existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  const began = Date.now();
  process.stderr.write(`set-up: ${name} ...`);
  rmSync(stamp, { force: true });
  // Only work that may fail returns false.
  if (work() === false) return;
  mkdirSync(stamps, { recursive: true });
  writeFileSync(stamp, wanted);
  process.stderr.write(` ${((Date.now() - began) / 1000).toFixed(1)} s\n`);
}

function fail(message) {
  console.error(`\nset-up failed: ${message}`);
  process.exit(1);
}

/** node-gyp needs Python. Without Python the compiler is called directly, with the flags of the same binding.gyp. */
function buildAddon() {
  const { command, args, problem } = cpuAddonBuild();
  if (problem) fail(problem);
  run(command, args);
}

lock();
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(130));

// Before anything is downloaded.
const cpuAddon = join(root, "build", "Release", "cpu.node");
const missing = existsSync(cpuAddon) ? undefined : cpuAddonBuild().problem;
if (missing) fail(missing);

removeIncomplete(root);
const toolsStep = "dependencies with tools";
const asksForTools = ["--tools", "--test", "--bench"].some((flag) => process.argv.includes(flag));
// Tools that were installed before are kept up to date.
const withTools = asksForTools || existsSync(stampOf(toolsStep));
step(withTools ? toolsStep : "dependencies", {
  inputs: ["package-lock.json"],
  product: join(root, "node_modules", withTools ? "vitest" : "typescript"),
  work: () => {
    const problem = installDependencies(root, { withTools });
    if (problem) fail(problem);
  },
});

step("CPU addon", {
  inputs: ["binding.gyp", ...filesUnder("native", /^native\/(?!cuda\/)/)],
  settings: [process.version, process.arch],
  product: cpuAddon,
  work: buildAddon,
});

const cudaSources = [...filesUnder("native", /^native\/(?!cpu\/)/), "binding.gyp", "CMakeLists.txt"];

/** Returns whether nvcc is installed and new enough. An old one is reported, and the set-up continues without it. */
function hasNvcc() {
  const { status, stdout } = spawnSync("nvcc", ["--version"], { encoding: "utf8" });
  if (status !== 0) return false;
  const release = /release (\d+)\.(\d+)/.exec(stdout);
  if (release && Number(release[1]) >= oldestNvcc) return true;
  const version = release ? `${release[1]}.${release[2]}` : "of an unknown version";
  console.error(`set-up: nvcc ${version} is not used: the CUDA addon needs nvcc ${oldestNvcc}.0 or newer`);
  return false;
}

const oldestNvcc = 13;
const nvcc = hasNvcc();
// The GPUs that the addon has code for, as CMake names them. Default: those of CMakeLists.txt.
const architectures = process.env.STEPSIZE_CUDA_ARCHITECTURES;

// The CUDA addon is optional. If it cannot be built, the set-up continues.
if (nvcc && works("cmake"))
  step("CUDA addon", {
    inputs: cudaSources,
    settings: [process.version, process.arch, architectures ?? ""],
    product: join(root, "build-cuda", "Release", "cuda.node"),
    work: () =>
      attempt(process.execPath, [
        join(root, "node_modules", "cmake-js", "bin", "cmake-js"),
        "rebuild",
        "-O",
        "build-cuda",
        ...(architectures ? [`--CDCMAKE_CUDA_ARCHITECTURES=${architectures}`] : []),
      ]),
  });

const emulatedSources = [
  ...cudaSources,
  ...filesUnder("test/emulator", /\.h$/),
  "test/check/planted_faults.cc",
  ...filesUnder("scripts", /^scripts\/(compile[\w-]*|gyp)\.mjs$/),
];

// The kernels compiled by nvcc, for the interpreter in the tests. Skipped without nvcc.
const interprets = process.argv.includes("--test") && nvcc;
// An interpreter with older kernels must not be left.
if (process.argv.includes("--test") && !interprets)
  rmSync(join(root, "build-cuda-ptx"), { recursive: true, force: true });
if (interprets)
  step("PTX of the kernels", {
    inputs: [...cudaSources, ...filesUnder("test/ptx", /\.(mjs|cuh?)$/)],
    settings: [process.arch],
    product: join(root, "build-cuda-ptx", "Release", "ptx"),
    work: () => run(process.execPath, [join(root, "test", "ptx", "build.mjs")]),
  });

if (process.argv.includes("--test") && nodeHeaders())
  step("emulated CUDA addon", {
    inputs: [...emulatedSources, ...(interprets ? filesUnder("test/ptx") : [])],
    settings: [process.version, process.arch, interprets],
    product: join(
      root,
      interprets ? "build-cuda-ptx" : "build-cuda-emulated",
      "Release",
      interprets ? "cuda-ptx.node" : "cuda-emulated.node",
    ),
    work: () =>
      run(process.execPath, [
        join(root, "scripts", "compile-emulated.mjs"),
        nodeHeaders(),
        join(root, "build-cuda-emulated", "Release"),
        ...(interprets ? ["--interpreter"] : []),
      ]),
  });

// Results must not depend on the choices of one compiler. vitest.config.ts selects the tests that run on this build.
const clangFolder = join(root, "build-clang", "Release");
if (process.argv.includes("--test") && nodeHeaders() && works("clang++"))
  step("addons compiled by clang", {
    inputs: [...emulatedSources, ...filesUnder("native/cpu")],
    settings: [process.version, process.arch],
    product: join(clangFolder, "cuda-emulated.node"),
    work: () => {
      for (const script of ["compile-addon.mjs", "compile-emulated.mjs"])
        run(process.execPath, [join(root, "scripts", script), nodeHeaders(), clangFolder], { CXX: "clang++" });
    },
  });

if (interprets)
  step("report on the kernels", {
    inputs: [...cudaSources, "scripts/kernel-report.mjs"],
    settings: [process.arch],
    product: join(stamps, "kernels"),
    work: () => run(process.execPath, [join(root, "scripts", "kernel-report.mjs")]),
  });

// Skipped by the tests, too, if ThreadSanitizer does not work here.
if (process.argv.includes("--test"))
  step("program with ThreadSanitizer", {
    inputs: [...filesUnder("native"), ...filesUnder("test/native/support", /race/)],
    settings: [process.arch],
    product: join(stamps, "races"),
    work: () => attempt(process.execPath, [join(root, "test", "native", "support", "races.mjs")]),
  });

if (process.argv.includes("--test"))
  step("programs of kernel tests", {
    inputs: [...cudaSources, ...filesUnder("test/emulator"), ...filesUnder("test/cuda")],
    settings: [process.arch],
    product: join(stamps, "emulated"),
    work: () => run(process.execPath, [join(root, "test", "emulator", "build.mjs")]),
  });

step("TypeScript", {
  inputs: ["tsconfig.json", "package-lock.json", ...filesUnder("lib")],
  product: join(root, "dist", "index.js"),
  work: () => {
    // The folder is emptied first, because a file without a source could still be imported.
    rmSync(join(root, "dist"), { recursive: true, force: true });
    // The page of `stepsize watch` runs in a browser, so it has its own project.
    for (const project of ["tsconfig.json", "lib/watch/page/tsconfig.json"])
      run(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", project]);
    // Lets `npx stepsize` run it from a clone.
    chmodSync(join(root, "dist", "cli", "main.js"), 0o755);
  },
});

// Needed only by `npm run bench`.
if (process.argv.includes("--bench"))
  step("benchmark baselines", {
    inputs: filesUnder("bench/native", /^bench\/native\/(?!build\/)/),
    settings: [process.version, process.arch],
    product: join(root, "bench", "native", "build", "Release", "baseline.node"),
    work: () => {
      const { command, args } = nodeGypCommand("--directory=bench/native");
      run(command, args);
    },
  });
