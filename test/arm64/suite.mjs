// Runs one test file and prints `N passed, N failed, N skipped`. Ends with status 1 if a test failed or none ran.
//
//   node --import ./test/arm64/hooks.mjs test/arm64/suite.mjs <test file>
import { pathToFileURL } from "node:url";
import { startTests } from "@vitest/runner";

const file = process.argv[2];
const counts = { pass: 0, fail: 0, skip: 0 };

function count(task) {
  const state = task.result?.state ?? task.mode;
  if (state === "fail")
    for (const error of task.result.errors ?? [])
      console.error(`${task.fullName ?? task.name}\n${error.stack ?? error.message}\n`);
  if (task.type === "suite") for (const part of task.tasks) count(part);
  if (task.type === "test") counts[state === "pass" ? "pass" : state === "fail" ? "fail" : "skip"]++;
  // A file that could not be loaded, or a hook that failed.
  else if (state === "fail" && !task.tasks.some(({ result }) => result?.state === "fail")) counts.fail++;
}

const limit = 3_600_000;
const [result] = await startTests([file], {
  config: {
    root: process.cwd(),
    name: "arm64",
    passWithNoTests: false,
    testNamePattern: undefined,
    allowOnly: false,
    sequence: { shuffle: false, concurrent: false, seed: 0, hooks: "stack", setupFiles: "list" },
    maxConcurrency: 1,
    testTimeout: limit,
    hookTimeout: limit,
    retry: 0,
    includeTaskLocation: false,
    setupFiles: [],
    diffOptions: {},
    tags: [],
    tagsFilter: undefined,
    strictTags: false,
  },
  importFile: (path) => import(pathToFileURL(path).href),
});
count(result);
console.log(`${counts.pass} passed, ${counts.fail} failed, ${counts.skip} skipped`);
process.exit(counts.fail > 0 || counts.pass === 0 ? 1 : 0);
