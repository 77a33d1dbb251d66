// Makes the published package: `npm run package`.
//
// Writes it to package/, packs it to package.tgz, installs that into an empty folder without compilers on the path, and
// uses it there. Prints a table and fails at the first result that does not hold. Needs the addons that `npm run setup`
// builds, binutils, and node-gyp-build from npm's cache or the registry.
import { execFileSync } from "node:child_process";
import { mkdtempSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { root } from "./gyp.mjs";
import { addPrebuiltAddons } from "./package/addons.mjs";
import { Consumer, checks, pack } from "./package/consumers.mjs";
import { filesIn, stage } from "./package/stage.mjs";

const limits = { packages: 2, bytesBesideAddons: 8e6, modules: 7, scheduleModules: 4 };
const folder = join(root, "package");
const tarball = join(root, "package.tgz");
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(2)} MB`;

/** Prints a row of the table. */
function row(name, result) {
  console.log(`${name.padEnd(44)} ${result}`);
}

function hold(name, value, limit, shown = value) {
  row(name, `${shown} (at most ${limit === limits.bytesBesideAddons ? megabytes(limit) : limit})`);
  if (value > limit) throw new Error(`${name}: expected at most ${limit}, got ${value}`);
}

async function checkManifest() {
  const { messages, pkg } = await publint({ pkgDir: folder, pack: false, strict: true });
  if (messages.length > 0) throw new Error(messages.map((message) => formatMessage(message, pkg)).join("\n"));
  row("publint", "ok");
}

/** Checks that the exports have types for every kind of import. The resolution of Node 10 knows no exports. */
function checkTypes() {
  const attw = join(root, "node_modules", "@arethetypeswrong", "cli", "dist", "index.js");
  execFileSync(process.execPath, [attw, tarball, "--profile", "node16", "--format", "ascii"], { encoding: "utf8" });
  row("@arethetypeswrong/cli, node16 and bundler", "ok");
}

function main(addons) {
  const target = mkdtempSync(join(root, "node_modules", ".package-"));
  try {
    renameSync(pack(folder, target), tarball);
  } finally {
    rmSync(target, { recursive: true });
  }
  for (const { name, bytes, glibc } of addons) row(`addon ${name}`, `${megabytes(bytes)}, glibc ≥ ${glibc}`);
  row("tarball", megabytes(statSync(tarball).size));
  const files = filesIn(folder).filter((path) => !path.startsWith("addons"));
  const bytes = files.reduce((sum, path) => sum + statSync(join(folder, path)).size, 0);
  hold("unpacked, beside the addons", bytes, limits.bytesBesideAddons, megabytes(bytes));
  checkTypes();
  const consumer = new Consumer();
  try {
    hold("installed packages", consumer.install(tarball), limits.packages);
    hold('modules of import "stepsize"', consumer.loadedModules("stepsize").length, limits.modules);
    const ofSchedule = consumer.loadedModules("stepsize/schedule").length;
    hold('modules of import "stepsize/schedule"', ofSchedule, limits.scheduleModules);
    for (const specifier of ["stepsize", "stepsize/schedule"])
      row(
        `CPU time of import "${specifier}"`,
        `${consumer.importTime(specifier).toFixed(1)} ms beyond an empty program`,
      );
    for (const [name, check] of Object.entries(checks)) row(name, check(consumer) ?? "ok");
  } finally {
    consumer.dispose();
  }
}

try {
  await stage(folder);
  const addons = await addPrebuiltAddons(folder);
  await checkManifest();
  main(addons);
  console.log(`\n${tarball}`);
} catch (error) {
  // Commands that were run keep their output.
  console.error(`\npackage failed: ${error.message}\n${error.stdout ?? ""}${error.stderr ?? ""}`);
  process.exitCode = 1;
}
