// Builds what the PTX interpreter needs: the kernels as compiled by nvcc, and cuda-ptx.node, the addon that runs them.
// As a command, it compiles every .cu file of the backend to PTX, with the flags with which CMakeLists.txt compiles it
// to machine code. A file is compiled again only if its sources or flags have changed.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { command, keyOf } from "../emulator/build.mjs";

const root = resolve(import.meta.dirname, "../..");
const release = join(root, "build-cuda-ptx", "Release");
const here = "test/ptx";

/** The folder in which the addon looks for the PTX of its kernels: ptx/ next to the addon. */
const ptxFolder = join(release, "ptx");
/** The program of interpreter_test.cc, which looks for its PTX in the same way. */
export const testProgram = join(root, "build-cuda-ptx", "test", "interpreter-test");

// The last architecture for which CMakeLists.txt generates PTX. No contraction, as there.
const architecture = "compute_90";
const nvccFlags = ["-ptx", "-std=c++17", "-O3", "-DNDEBUG", "-fmad=false", "--Werror=all-warnings"];

/**
 * Compiles a .cu file, a path from the repository's root, into a folder unless it is up to date.
 * @throws Error with the compiler's output.
 */
export async function compilePtx(source, folder, flags = []) {
  mkdirSync(folder, { recursive: true });
  const ptx = join(folder, `${basename(source, ".cu")}.ptx`);
  // Next to the folder, because the folder contains only PTX.
  const keyFile = join(folder, "..", `${basename(source)}.key`);
  const all = [...nvccFlags, `-arch=${architecture}`, ...flags];
  // The emulator's headers replace CUDA's, which g++ may not find.
  const key = await keyOf(
    "g++",
    [source],
    ["-std=c++20", "-DSTEPSIZE_EMULATED", "-Itest/emulator", "-x", "c++", ...flags],
    all,
  );
  if (existsSync(ptx) && existsSync(keyFile) && readFileSync(keyFile, "utf8") === key) return ptx;
  rmSync(keyFile, { force: true });
  const { status, output } = await command("nvcc", [...all, source, "-o", `${ptx}.new`]);
  if (status !== 0) throw new Error(`nvcc ${source}\n${output}`);
  renameSync(`${ptx}.new`, ptx);
  writeFileSync(keyFile, key);
  return ptx;
}

// Registers are arrays of 32 lanes, which compilers vectorize. Without the instruction std::fma is a function call.
function vectorFlags() {
  const cpu = existsSync("/proc/cpuinfo") ? readFileSync("/proc/cpuinfo", "utf8") : "";
  const flags = new Set(
    cpu
      .match(/^flags\s*:(.*)$/m)?.[1]
      ?.trim()
      .split(" "),
  );
  return ["avx2", "fma", "bmi2"].every((flag) => flags.has(flag)) ? ["-march=x86-64-v3"] : [];
}

// The rounding mode is set at run time, so the compiler must not assume one.
const flagsOf = (name) => (name === "float_arithmetic.cc" ? ["-frounding-math"] : []);

/**
 * Compilations and products for scripts/compile.mjs: cuda-ptx.node, which is cuda-emulated.node with the interpreter
 * instead of the emulator's fibers, and the program of interpreter_test.cc. `flags` and `link` are those of an addon.
 */
export function interpreter({ flags, link }) {
  const emulated = [...flags, "-DSTEPSIZE_EMULATED", "-Itest/emulator", "-Wno-unknown-pragmas"];
  const compile = (name, part, moreFlags) => ({ source: `${here}/${name}`, flags: [...emulated, ...moreFlags], part });
  const sources = readdirSync(join(root, here)).filter((name) => name.endsWith(".cc"));
  const addonOnly = ["watched_operations.cc"];
  const testOnly = ["interpreter_test.cc"];
  const fast = ["-O3", "-ffp-contract=off", ...vectorFlags()];
  return {
    compilations: [
      ...sources
        .filter((name) => !addonOnly.includes(name) && !testOnly.includes(name))
        .map((name) => compile(name, "interpreter", [...fast, ...flagsOf(name)])),
      ...addonOnly.map((name) => compile(name, "watched", ["-O2"])),
      // Each kernel has a separate symbol, as in the addon.
      ...testOnly.map((name) =>
        compile(name, "test", ["-O1", "-ffp-contract=off", "-fvisibility=default", "-fno-ipa-icf"]),
      ),
    ],
    products: [
      {
        file: join(release, "cuda-ptx.node"),
        parts: ["backend", "interpreter", "watched"],
        link: [
          "-shared",
          ...link.filter((flag) => !flag.includes("--version-script")),
          `-Wl,--version-script=${join(root, here, "exports.map")}`,
          "-Wl,--wrap=_ZN8stepsize4cuda11launcherForENS_11OperationIdE",
        ],
      },
      { file: testProgram, parts: ["interpreter", "test"], link: ["-rdynamic"] },
    ],
  };
}

if (process.argv[1] === import.meta.filename) {
  const sources = readdirSync(join(root, "native/cuda")).filter((name) => name.endsWith(".cu"));
  mkdirSync(ptxFolder, { recursive: true });
  for (const old of readdirSync(ptxFolder))
    if (!sources.includes(old.replace(/\.ptx$/, ".cu"))) rmSync(join(ptxFolder, old));
  try {
    await Promise.all([
      compilePtx(`${here}/examples.cu`, join(testProgram, "..", "ptx")),
      ...sources.map((source) => compilePtx(`native/cuda/${source}`, ptxFolder)),
    ]);
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
