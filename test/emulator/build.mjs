// Compiles programs of kernel tests (see kernel_test.h) for the emulator, and runs them. A program is kept under
// node_modules/.stepsize/emulated/ until the compiler, the flags or a source file changes.
import { execFile, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { fingerprint } from "../../scripts/fingerprint.mjs";

const root = resolve(import.meta.dirname, "../..");
const cache = join(root, "node_modules", ".stepsize", "emulated");
const raceDetector = "test/emulator/race_detector.cc";

// No contraction, as in the builds of the library, because kernels use fused multiply-adds explicitly. No strict
// aliasing, because kernels move floats as float4, which nvcc allows.
const warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"];
const common = [
  "-std=c++20",
  "-DSTEPSIZE_EMULATED",
  "-Itest/emulator",
  ...warnings,
  "-fno-strict-aliasing",
  "-ffp-contract=off",
  "-g",
];

export const variants = {
  plain: { flags: ["-O2"] },
  sanitized: { flags: ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"] },
  // Instrumented as for ThreadSanitizer, but linked with the emulator's detector. Fixed addresses let its reports
  // name lines.
  races: { flags: ["-O1", "-fsanitize=thread", "-no-pie"], link: ["-no-pie"], detector: true },
  // Switches between fibers with ucontext, for machines without an assembly version in fiber.h.
  portable: { flags: ["-O2", "-DSTEPSIZE_EMULATOR_UCONTEXT"] },
  // Where the language leaves the order of evaluation open, clang chooses another one than g++, as nvcc does.
  clang: { compiler: "clang++", flags: ["-O2"] },
};

export const programs = [
  "test/emulator/semantics_test.cc",
  "test/emulator/examples_test.cc",
  "test/emulator/runtime_test.cc",
  "test/cuda/update_test.cc",
  "test/cuda/rounding_test.cc",
  "test/cuda/gradient_norm_test.cc",
  "test/cuda/prepare_step_test.cc",
  "test/cuda/cooperating_test.cc",
  "test/cuda/tensor_core_test.cc",
  "test/cuda/gemm_test.cc",
  "test/cuda/attention_test.cc",
];

let running = 0;
const waiting = [];

/** Runs a command in the repository's root, at most two at a time. Never rejects. */
export async function command(name, args) {
  if (running >= 2) await new Promise((go) => waiting.push(go));
  running++;
  const began = performance.now();
  // Leak detection is off. The programs do not test for leaks, and it needs ptrace, which containers may forbid.
  const env = { ...process.env, ASAN_OPTIONS: "detect_leaks=0" };
  return new Promise((done) => {
    execFile(name, args, { cwd: root, env, encoding: "utf8", maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      running--;
      waiting.shift()?.();
      const status = error ? (typeof error.code === "number" ? error.code : 128) : 0;
      done({ status, output: `${stdout}${stderr}`, seconds: (performance.now() - began) / 1000 });
    });
  });
}

async function checked(name, args) {
  const { status, output } = await command(name, args);
  if (status !== 0) throw new Error(`${name} ${args.join(" ")}\n${output}`);
  return output;
}

const reasons = new Map();

/** The reason why programs of this variant cannot be built and run here, or an empty string. */
export function whyNot(variant) {
  if (!reasons.has(variant)) reasons.set(variant, probe(variant));
  return reasons.get(variant);
}

const oldest = { "g++": 11, "clang++": 14 };

function probe(variant) {
  const { compiler = "g++" } = variants[variant];
  const version = spawnSync(compiler, ["-dumpversion"], { encoding: "utf8" });
  if (version.status !== 0) return `${compiler} is not installed`;
  if (Number.parseInt(version.stdout, 10) < oldest[compiler])
    return `${compiler} is ${version.stdout.trim()}, ${oldest[compiler]} or newer is needed`;
  if (variant !== "sanitized") return "";
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, "probe-"));
  try {
    writeFileSync(join(folder, "probe.cc"), "int main() { return 0; }\n");
    const built = spawnSync("g++", [...variants.sanitized.flags, "probe.cc", "-o", "probe"], { cwd: folder });
    if (built.status !== 0) return "g++ has no sanitizers: install libasan and libubsan";
    return spawnSync(join(folder, "probe")).status === 0 ? "" : "programs with sanitizers do not run here";
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The files that a source includes, without system headers. */
async function dependencies(compiler, source, flags) {
  const rule = await checked(compiler, [...flags, "-MM", source]);
  return rule
    .slice(rule.indexOf(":") + 1)
    .split(/[\s\\]+/)
    .filter((name) => name !== "");
}

/** Identifies a build by the compiler, the flags, other values, and the contents of all files that it reads. */
export async function keyOf(compiler, sources, flags, others = []) {
  const version = await checked(compiler, ["--version"]);
  const files = [];
  for (const source of sources) files.push(...(await dependencies(compiler, source, flags)));
  return fingerprint(files, version, flags, others).slice(0, 16);
}

/** Builds a program from one source, a path from the repository's root. Returns the path of the program. */
export async function build(source, variant, extraFlags = []) {
  const { compiler = "g++", flags, link = [], detector = false } = variants[variant];
  const all = [...common, ...flags, ...extraFlags];
  const name = `${basename(source, ".cc")}-${variant}-`;
  const key = await keyOf(compiler, detector ? [source, raceDetector] : [source], all);
  mkdirSync(cache, { recursive: true });
  const program = join(cache, name + key);
  const kept = readdirSync(cache).filter((file) => file.startsWith(name) && file.length === name.length + key.length);
  if (kept.includes(name + key)) return program;

  const folder = mkdtempSync(join(cache, "building-"));
  try {
    const output = join(folder, "program");
    if (detector) {
      // In two steps, because the flag for instrumentation would also link ThreadSanitizer's runtime.
      const uninstrumented = all.filter((flag) => flag !== "-fsanitize=thread");
      const objects = [join(folder, "kernels.o"), join(folder, "detector.o")];
      await Promise.all([
        checked(compiler, [...all, "-c", source, "-o", objects[0]]),
        checked(compiler, [...uninstrumented, "-c", raceDetector, "-o", objects[1]]),
      ]);
      await checked(compiler, [...link, ...objects, "-o", output, "-pthread"]);
    } else {
      await checked(compiler, [...all, source, "-o", output, "-pthread"]);
    }
    renameSync(output, program);
    for (const old of kept) rmSync(join(cache, old), { force: true });
    return program;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

// As a command, builds everything that the tests run, so that no test waits for a compiler.
if (process.argv[1] === import.meta.filename) {
  const wanted = ["sanitized", "plain", "races", "clang"].filter((variant) => !whyNot(variant));
  try {
    await Promise.all(wanted.flatMap((variant) => programs.map((program) => build(program, variant))));
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
