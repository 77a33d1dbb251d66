// Builds cuda-emulated.node: the sources of cuda.node, compiled by the C++ compiler for the emulator in test/emulator/.
// Beside it, planted-faults/cuda-emulated.node can have a fault in any operation (test/check/planted_faults.cc).
// With --interpreter it also builds cuda-ptx.node, from the same objects and the interpreter in test/ptx/, and the
// interpreter's test program.
//
//   node scripts/compile-emulated.mjs <include folder of Node> <output folder> [--interpreter] [extra compiler flag ...]
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { interpreter } from "../test/ptx/build.mjs";
import { compileProducts } from "./compile.mjs";
import { readTargets, root } from "./gyp.mjs";

const [includeFolder, output, ...rest] = process.argv.slice(2);
const interprets = rest.includes("--interpreter");
const extra = rest.filter((argument) => argument !== "--interpreter");
if (!includeFolder || !output) {
  console.error(
    "usage: node scripts/compile-emulated.mjs <include folder of Node> <output folder> [--interpreter] [flag ...]",
  );
  process.exit(2);
}
const { sources, flags, link } = readTargets().find(({ name }) => name === "cpu");
const shared = sources.filter((source) => !source.startsWith("native/cpu/"));
const backend = readdirSync(join(root, "native", "cuda"))
  .filter((name) => /\.(cc|cu)$/.test(name))
  .map((name) => `native/cuda/${name}`);
// -x c++, because the compiler does not know the extension .cu. No contraction, as with nvcc. No strict aliasing,
// because kernels move floats as float4, which nvcc allows.
const emulated = [
  "-DSTEPSIZE_EMULATED",
  "-Itest/emulator",
  "-O2",
  "-ffp-contract=off",
  "-fno-strict-aliasing",
  "-Wno-unknown-pragmas",
];
// The interpreter identifies a kernel by its symbol, so each kernel needs a separate, exported one. Clang has no such
// flags.
const symbols = interprets
  ? ["-fvisibility=default", "-fno-ipa-icf", "-fno-gnu-unique", "-fno-semantic-interposition"]
  : [];
const compilations = [
  ...backend
    .toSorted()
    .reverse()
    .map((source) => ({
      source,
      flags: [...flags, ...emulated, ...(source.endsWith(".cu") ? symbols : []), ...extra, "-x", "c++"],
      part: "backend",
    })),
  ...shared.map((source) => ({ source, flags: [...flags, "-O1", ...extra], part: "backend" })),
  { source: "test/check/planted_faults.cc", flags: [...flags, ...emulated, ...extra], part: "faults" },
];
const products = [
  { file: join(output, "cuda-emulated.node"), parts: ["backend"], link: ["-shared", ...link] },
  {
    file: join(output, "planted-faults", "cuda-emulated.node"),
    parts: ["backend", "faults"],
    link: ["-shared", ...link, "-Wl,--wrap=_ZN8stepsize4cuda11launcherForENS_11OperationIdE"],
  },
];
if (interprets) {
  const more = interpreter({ flags: [...flags, ...extra], link });
  compilations.push(...more.compilations);
  products.push(...more.products);
}
await compileProducts({ includeFolder, compilations, products });
