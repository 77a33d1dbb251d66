// Builds the CPU addon with only the C++ compiler, from the targets and flags of binding.gyp. For machines without
// Python, which node-gyp needs.
//
//   node scripts/compile-addon.mjs <include folder of Node> <output folder> [extra compiler flag ...]
import { join } from "node:path";
import { compileAddon } from "./compile.mjs";
import { readTargets } from "./gyp.mjs";

const [includeFolder, output, ...extra] = process.argv.slice(2);
if (!includeFolder || !output) {
  console.error(
    "usage: node scripts/compile-addon.mjs <include folder of Node> <output folder> [extra compiler flag ...]",
  );
  process.exit(2);
}
const targets = readTargets();
const compilations = targets.flatMap(({ sources, flags }) =>
  sources.map((source) => ({ source, flags: [...flags, ...extra] })),
);
// The kernels come first, because they take longest.
compilations.sort((a, b) => Number(b.source.includes("kernels")) - Number(a.source.includes("kernels")));
const { link } = targets.find(({ name }) => name === "cpu");
await compileAddon({ file: join(output, "cpu.node"), includeFolder, compilations, link });
