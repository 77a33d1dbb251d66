// Builds races_test.cc with ThreadSanitizer, and keeps the program until one of its sources changes.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";

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
    .filter((name) => name.endsWith(".cc") && !/^(kernels_avx.*|instruction_sets)\.cc$/.test(name))
    .map((name) => `native/cpu/${name}`),
];

/** The reason why the program cannot be built or run here, or an empty string. */
export async function whyNoThreadSanitizer(): Promise<string> {
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

function fingerprint(): string {
  const hash = createHash("sha256").update(JSON.stringify([flags, sources]));
  const names = readdirSync(join(root, "native"), { recursive: true, encoding: "utf8" }).filter((name) =>
    /\.(h|cc)$/.test(name),
  );
  for (const name of names.sort()) hash.update(name).update(readFileSync(join(root, "native", name)));
  return hash
    .update(readFileSync(join(root, sources[0] as string)))
    .digest("hex")
    .slice(0, 24);
}

/** Runs the program. With "race" it contains a race. Returns its output, or throws ThreadSanitizer's report. */
export async function runRaces(...args: readonly "race"[]): Promise<string> {
  const program = join(root, "node_modules", ".stepsize", "races", fingerprint());
  if (!existsSync(program)) {
    rmSync(dirname(program), { recursive: true, force: true });
    mkdirSync(dirname(program), { recursive: true });
    const built = `${program}.${process.pid}`;
    await run("c++", [...flags, ...sources, "-o", built], { cwd: root });
    renameSync(built, program);
  }
  const { stdout, stderr } = await run(program, args, {
    env: { ...process.env, TSAN_OPTIONS: "" },
    maxBuffer: 1 << 26,
  });
  return stdout + stderr;
}
