// Builds races_test.cc with ThreadSanitizer and runs it. The program is kept in node_modules/.stepsize/races/ until one of
// its sources changes.
//
//   node test/native/support/races.mjs
//
// only builds it. Set-up does so, so that no test waits for a compiler.
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { compileProducts } from "../../../scripts/compile.mjs";
import { filesUnder, fingerprint } from "../../../scripts/fingerprint.mjs";

const run = promisify(execFile);
const root = resolve(import.meta.dirname, "../../..");
const flags = ["-std=c++20", "-O1", "-g", "-pthread", "-ffp-contract=off", "-fsanitize=thread"];
const sources = [
  "test/native/support/races_test.cc",
  "native/allocator.cc",
  "native/operations.cc",
  "native/shape_rules.cc",
  "native/shape_rules_sequence.cc",
  "native/spoiled_memory.cc",
  ...readdirSync(join(root, "native/cpu"))
    // One build of the kernels is enough, and the program includes it itself.
    .filter((name) => name.endsWith(".cc") && !/^(kernels_avx.*|kernels_neon|instruction_sets)\.cc$/.test(name))
    .map((name) => `native/cpu/${name}`),
];

/** The reason why the program cannot be built or run here, or an empty string. */
export async function whyNoThreadSanitizer() {
  const folder = mkdtempSync(join(root, "node_modules", "probe-"));
  try {
    writeFileSync(join(folder, "probe.cc"), "#include <atomic>\nint main() { return std::atomic<int>{0}; }\n");
    await run("c++", [...flags, join(folder, "probe.cc"), "-o", join(folder, "probe")]);
    await run(join(folder, "probe"));
    return "";
  } catch (error) {
    return `ThreadSanitizer does not work here: ${String(error).slice(0, 300)}`;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The path of the program, which is built if it does not exist. */
async function built() {
  const key = fingerprint([...sources, ...filesUnder("native", /\.(h|cc)$/)], flags).slice(0, 24);
  const program = join(root, "node_modules", ".stepsize", "races", key);
  if (existsSync(program)) return program;
  rmSync(dirname(program), { recursive: true, force: true });
  await compileProducts({
    includeFolder: join(root, "native"),
    compilations: sources.map((source) => ({ source, flags, part: "program" })),
    products: [{ file: program, parts: ["program"], link: ["-fsanitize=thread"] }],
  });
  if (!existsSync(program)) throw new Error(`${program}: the program with ThreadSanitizer was not built`);
  return program;
}

/** Runs the program. With "race" it contains a race. Returns its output, or throws ThreadSanitizer's report. */
export async function runRaces(...args) {
  const { stdout, stderr } = await run(await built(), args, {
    env: { ...process.env, TSAN_OPTIONS: "" },
    maxBuffer: 1 << 26,
  });
  return stdout + stderr;
}

if (process.argv[1] === import.meta.filename && (await whyNoThreadSanitizer()) === "") await built();
