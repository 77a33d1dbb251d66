import { describe, expect, test } from "vitest";
import { run } from "./support/cli.js";

const commands = [
  "train",
  "find-lr",
  "evaluate",
  "predict",
  "export",
  "tokenize",
  "generate",
  "schedule",
  "curvature",
  "compare",
  "bench",
  "check",
  "info",
];

describe("help and version", () => {
  test.concurrent("--version prints the version of the package", async () => {
    const { code, stdout } = await run(["--version"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  test.concurrent("--help lists every command and the exit codes", async () => {
    const { code, stdout } = await run(["--help"]);
    expect(code).toBe(0);
    for (const command of commands) expect(stdout).toMatch(new RegExp(`^  ${command} `, "m"));
    expect(stdout).toContain("130  interrupted");
  });

  test.concurrent.each(commands)("%s --help shows examples", async (command) => {
    const [direct, throughHelp] = await Promise.all([run([command, "--help"]), run(["help", command])]);
    expect(direct.code).toBe(0);
    expect(direct.stdout).toMatch(new RegExp(`Examples:\\n  stepsize ${command}`));
    expect(throughHelp.stdout).toBe(direct.stdout);
  });

  test.concurrent("train --help lists the defaults", async () => {
    const { stdout } = await run(["train", "--help"]);
    for (const words of ["default: resnet8", "default: 600", "default: uba", "default: 0.01 for adamw"])
      expect(stdout.replace(/\s+/g, " ")).toContain(words);
  });
});

describe("a usage error exits with 2 and one message", () => {
  // wrong-usage.test.ts has many more, in one process.
  test.concurrent.each([
    ["no command", [], "Usage: stepsize"],
    ["an unknown command", ["trian"], "Did you mean train?"],
    ["an unknown flag", ["train", "--bugdet", "5"], "Did you mean --budget?"],
    ["a flag without its value", ["train", "--budget"], "--budget: expected a value after it, <n>, got none"],
    ["too many arguments", ["info", "more"], 'argument: expected none beside flags, got "more"'],
    ["an unknown model", ["train", "--model", "resnet9"], "did you mean resnet8?"],
    [
      "a value that is not a number",
      ["train", "--budget", "many"],
      '--budget: expected a whole number from 1 to 1000000000, got "many"',
    ],
    ["a negative rate", ["train", "--max-lr", "-1"], "--max-lr: expected a finite number above 0, got -1"],
    [
      "a missing run to resume",
      ["train", "--resume", "/no/such/run"],
      "--resume: expected the folder of a run, /no/such/run does not exist",
    ],
    [
      "a missing checkpoint",
      ["predict", "--checkpoint", "/no/such", "a.pgm"],
      "--checkpoint: expected a file or folder, /no/such does not exist",
    ],
  ])("%s", async (_, args, message) => {
    const { code, stdout, stderr } = await run(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(message);
    expect(stderr).not.toMatch(/^\s+at /m);
  });
});

test("STEPSIZE_DEBUG=1 prints the stack trace", async () => {
  const { code, stderr } = await run(["train", "--max-lr", "-1"], { before: "export STEPSIZE_DEBUG=1" });
  expect(code).toBe(2);
  expect(stderr).toMatch(/^\s+at .*makeSchedule/m);
});

test("a command loads neither the drawing library nor an addon for its help", async () => {
  const { stderr } = await run(["train", "--help"], { unbundled: true, before: "export NODE_DEBUG=esm,module" });
  // Without this line the two below would hold however much was loaded.
  expect(stderr).toContain("commander");
  expect(stderr).not.toContain("observablehq");
  expect(stderr).not.toContain("cpu.node");
});
