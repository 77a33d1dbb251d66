// Runs when the package is installed, and by hand if an addon is missing. If no prebuilt CPU addon fits the platform,
// it compiles one. The installation succeeds in any case, because the schedules work without an addon.
//
//   node node_modules/stepsize/scripts/install.mjs
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { cpuAddonBuild } from "./build-addon.mjs";

const script = fileURLToPath(import.meta.url);
const root = join(dirname(script), "..");
const built = join(root, "build", "Release", "cpu.node");

function prebuilt() {
  try {
    return createRequire(import.meta.url)("node-gyp-build").resolve(join(root, "addons", "cpu"));
  } catch {
    return undefined;
  }
}

/** Returns whether an addon can be loaded. Another process tries, because a damaged file can end the process. */
function loads(file) {
  const program = "require(process.argv[1]).describe()";
  return spawnSync(process.execPath, ["-e", program, file]).status === 0;
}

/** Compiles the addon. Returns why that failed, in one line, or undefined. */
function compile() {
  const { command, args, problem } = cpuAddonBuild();
  if (problem) return problem;
  console.log(`stepsize: compiling the CPU addon for ${process.platform}-${process.arch}, about a minute ...`);
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 2 ** 28,
  });
  if (error) return error.message;
  const lines = `${stdout}\n${stderr}`.split("\n").filter((line) => /error|ERR|denied|read-only/i.test(line));
  if (status !== 0) return lines[0]?.trim() ?? `${command} ended with code ${status}`;
  return loads(built) ? undefined : `the compiled file ${built} could not be loaded`;
}

const usable = [existsSync(built) ? built : undefined, prebuilt()].some((file) => file && loads(file));
const problem = usable ? undefined : compile();
if (problem)
  console.log(
    `stepsize: no prebuilt CPU addon works on ${process.platform}-${process.arch}, and none could be compiled: ${problem}
stepsize/schedule and stepsize/theory work without it. openDevice, models and optimizers need it.
With a C++20 compiler installed, try again: node "${script}"`,
  );
