// What stands in a run's records is read with care: evaluations that were not finite, half-written and damaged lines.
import { appendFileSync, cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { temporaryFolders } from "../support/folders.js";
import { lossesOf, run } from "./support/cli.js";
import { tinyData, trainTiny } from "./support/tiny-data.js";

const folder = temporaryFolders();
const cwd = folder();
// After the first step the weights are finite and so large that no loss is.
const wild = ["--optimizer", "sgd", "--max-lr", "1e20", "--warmup", "0", "--momentum", "0", "--non-finite", "skip"];
const args = trainTiny(
  tinyData(folder()),
  "--budget",
  "60",
  "--checkpoint-every",
  "10",
  "--evaluate-every",
  "5",
  ...wild,
);
const textOf = (name: string, file = "evaluations.jsonl") => readFileSync(join(cwd, name, file), "utf8");

/** A copy of the run that was stopped. */
function copy(name: string): string {
  cpSync(join(cwd, "stopped"), join(cwd, name), { recursive: true });
  return join(cwd, name);
}

beforeAll(async () => {
  const { code, stderr } = await run([...args, "--run", "whole"], { cwd });
  expect(code, stderr).toBe(0);
  const interrupt = { signal: "SIGINT", file: join(cwd, "stopped/metrics.jsonl"), lines: 25 } as const;
  expect((await run([...args, "--run", "stopped"], { cwd, interrupt })).code).toBe(130);
});

test("a run with non-finite evaluations is resumed to its end, and its records keep their values", async () => {
  copy("resumed");
  const { code, stderr } = await run(["train", "--resume", "resumed"], { cwd });
  expect(code, stderr).toBe(0);
  expect(textOf("resumed")).toMatch(/"loss":"(NaN|Infinity)"/);
  expect(textOf("resumed")).toBe(textOf("whole"));
  expect(lossesOf(join(cwd, "resumed"))).toEqual(lossesOf(join(cwd, "whole")));
  expect(textOf("resumed", "report.html")).toContain("Evaluations during the run");
  expect(textOf("resumed", "report.html")).not.toContain("undefined");
});

test("a run of a version that wrote null instead is resumed too", async () => {
  const old = copy("old");
  for (const file of ["metrics.jsonl", "evaluations.jsonl"])
    writeFileSync(join(old, file), textOf("old", file).replaceAll(/"(NaN|-?Infinity)"/g, "null"));
  expect(textOf("old")).toContain('"loss":null');
  const { code, stderr } = await run(["train", "--resume", "old"], { cwd });
  expect(code, stderr).toBe(0);
});

test("a half-written last line is cut off with a notice", async () => {
  const half = copy("half");
  const whole = textOf("half");
  // The checkpoint is of a step after all of these.
  appendFileSync(join(half, "evaluations.jsonl"), '{"step":25,"spl');
  writeFileSync(join(half, "metrics.jsonl"), textOf("half", "metrics.jsonl").split("\n").slice(0, 20).join("\n"));
  const { code, stderr } = await run(["train", "--resume", "half"], { cwd });
  expect(code, stderr).toBe(0);
  expect(stderr).toContain("half/evaluations.jsonl: its last line was half written and is cut off");
  expect(stderr).toContain("half/metrics.jsonl: its last line was half written and is cut off");
  expect(stderr).toMatch(/has records of 19 of the \d+ steps made; the others are lost/);
  expect(textOf("half").startsWith(whole)).toBe(true);
});

describe.each(["metrics.jsonl", "evaluations.jsonl"])(
  "a damaged line of %s is an error that names the line",
  (file) => {
    test.each(["null", "[]", "{}", "not JSON", '{"step":"1"}'])("%s", async (line) => {
      const name = `damaged-${file}-${line.length}`;
      const damaged = copy(name);
      const [first, , ...rest] = textOf(name, file).split("\n");
      writeFileSync(join(damaged, file), [first, line, ...rest].join("\n"));
      const { code, stderr } = await run(["train", "--resume", name], { cwd });
      expect(code).toBe(1);
      expect(stderr).toContain(`error: ${name}/${file}:2: `);
      expect(stderr).toContain("Mend the line");
      expect(stderr).not.toMatch(/TypeError|Cannot read|STEPSIZE_DEBUG/);
      expect(textOf(name, file).split("\n")[1]).toBe(line);
    });
  },
);
