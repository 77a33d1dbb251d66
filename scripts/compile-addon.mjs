// Builds the CPU addon with only the C++ compiler, from the targets and flags of binding.gyp. For machines without
// Python, which node-gyp needs.
//
//   node scripts/compile-addon.mjs <include folder of Node> <output folder> [--target-arch=...] [extra compiler flag ...]
//
// CXX names the compiler. A cross compiler needs its architecture: CXX=aarch64-linux-gnu-g++ and --target-arch=arm64.
import { join } from "node:path";
import { compileAddon } from "./compile.mjs";
import { readTargets } from "./gyp.mjs";

const [includeFolder, output, ...rest] = process.argv.slice(2);
const ofArchitecture = "--target-arch=";
const architecture = rest.find((argument) => argument.startsWith(ofArchitecture))?.slice(ofArchitecture.length);
const extra = rest.filter((argument) => !argument.startsWith(ofArchitecture));
if (!includeFolder || !output) {
  console.error(
    "usage: node scripts/compile-addon.mjs <include folder of Node> <output folder> [--target-arch=...] [flag ...]",
  );
  process.exit(2);
}
const targets = readTargets(architecture);
const compilations = targets.flatMap(({ sources, flags }) =>
  sources.map((source) => ({ source, flags: [...flags, ...extra] })),
);
// The kernels come first, because they take longest.
compilations.sort((a, b) => Number(b.source.includes("kernels")) - Number(a.source.includes("kernels")));
const { link } = targets.find(({ name }) => name === "cpu");
await compileAddon({ file: join(output, "cpu.node"), includeFolder, compilations, link });
