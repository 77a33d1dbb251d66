// Builds cuda-emulated.node: the sources of cuda.node, compiled by the C++ compiler for the emulator in test/emulator/.
//
//   node scripts/compile-emulated.mjs <include folder of Node> <output folder> [extra compiler flag ...]
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { compileAddon } from "./compile.mjs";
import { readTargets, root } from "./gyp.mjs";

const [includeFolder, output, ...extra] = process.argv.slice(2);
if (!includeFolder || !output) {
  console.error(
    "usage: node scripts/compile-emulated.mjs <include folder of Node> <output folder> [extra compiler flag ...]",
  );
  process.exit(2);
}
const { sources, flags, link } = readTargets().find(({ name }) => name === "cpu");
const shared = sources.filter((source) => !source.startsWith("native/cpu/"));
const backend = readdirSync(join(root, "native", "cuda"))
  .filter((name) => /\.(cc|cu)$/.test(name))
  .map((name) => `native/cuda/${name}`);
// -x c++, because a .cu is none to the compiler; no contraction, as nvcc compiles it; no strict aliasing, because
// kernels move floats as float4, which nvcc allows.
const emulated = ["-DSTEPSIZE_EMULATED", "-O2", "-ffp-contract=off", "-fno-strict-aliasing", "-Wno-unknown-pragmas"];
const compilations = [
  ...backend
    .toSorted()
    .reverse()
    .map((source) => ({ source, flags: [...flags, ...emulated, ...extra, "-x", "c++"] })),
  ...shared.map((source) => ({ source, flags: [...flags, "-O1", ...extra] })),
];
await compileAddon({ file: join(output, "cuda-emulated.node"), includeFolder, compilations, link });
