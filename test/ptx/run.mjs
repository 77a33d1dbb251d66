// Runs test suites on the PTX interpreter, in every schedule and with its checks for races and for reads of
// uninitialized memory. This takes hours, too long for `npm test`:
//
//   npm run test:ptx [-- --fresh] [suite …]
//
// Without arguments, it runs the suites of operations, layers, optimizers and training. build-cuda-ptx/passed.json
// records what has passed. Recorded suites are not run again until the interpreter, a kernel or a test changes. --fresh
// discards the record.
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { filesUnder, fingerprint } from "../../scripts/fingerprint.mjs";
import { command } from "../emulator/build.mjs";

const root = resolve(import.meta.dirname, "../..");
const release = join(root, "build-cuda-ptx", "Release");
const record = join(root, "build-cuda-ptx", "passed.json");
const schedules = ["in-order", "random", "switching", "diverging"];

const args = process.argv.slice(2);
const unknown = args.find((argument) => argument.startsWith("--") && argument !== "--fresh");
if (unknown) {
  console.error(`unknown option ${unknown}; the only one is --fresh`);
  process.exit(2);
}
if (!existsSync(join(release, "cuda-ptx.node"))) {
  console.error("there is no interpreter: set-up found no nvcc (npm run setup -- --test)");
  process.exit(2);
}
if (args.includes("--fresh")) rmSync(record, { force: true });

// A result depends on the compiled library too. The files of a suite are all files of its folder.
const common = fingerprint(["build-cuda-ptx/Release", "dist", "test/support"].flatMap((folder) => filesUnder(folder)));
const folderOf = (suite) => suite.split("/").slice(0, 2).join("/");
const named = args.filter((argument) => !argument.startsWith("--"));
const suites =
  named.length > 0
    ? named
    : ["test/tensor", "test/nn", "test/optim", "test/train", "test/weights"].flatMap((folder) =>
        readdirSync(join(root, folder))
          .filter((name) => name.endsWith(".test.ts"))
          .map((name) => `${folder}/${name}`),
      );

const passed = existsSync(record) ? JSON.parse(readFileSync(record, "utf8")) : {};
for (const schedule of schedules)
  for (const suite of suites) {
    const title = `${suite} (${schedule})`;
    const key = fingerprint(filesUnder(folderOf(suite)), common);
    if (passed[title] === key) {
      console.log(`passed before  ${title}`);
      continue;
    }
    const { status, output, seconds } = await command("env", [
      "STEPSIZE_TEST_DEVICE=cuda:ptx",
      `STEPSIZE_PTX_SCHEDULE=${schedule}`,
      "STEPSIZE_PTX_CHECKS=1",
      // Suites with large shapes take longer here than the usual limit for hangs.
      ...["npx", "vitest", "run", "--testTimeout=36000000", "--hookTimeout=36000000", suite],
    ]);
    console.log(`${status === 0 ? "passed " : "FAILED "}  ${title}, ${seconds.toFixed(0)} s`);
    if (status === 0) {
      passed[title] = key;
      writeFileSync(record, `${JSON.stringify(passed, null, 1)}\n`);
    } else {
      console.log(output);
      process.exitCode = 1;
    }
  }
