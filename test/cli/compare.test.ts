import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { temporaryFolders } from "../support/folders.js";
import { lastLine, linesIn, run, start } from "./support/cli.js";
import { classCount, tinyData } from "./support/tiny-data.js";

const folder = temporaryFolders();
const cwd = folder();
const data = tinyData(folder());

const settings = {
  title: "Tiny",
  models: ["mlp"],
  data: [{ source: `idx:${data}`, name: "tiny", classes: classCount }],
  validation: 0.25,
  batch: 16,
  steps: 60,
  budgets: [0.5, 1],
  optimizers: [{ name: "sgd", peakLearningRates: [0.002, 0.02], uba: { peakLearningRates: [0.002, 0.02], phi: [2] } }],
  schedules: ["linear", "uba"],
  extensions: 1,
  finalSeeds: [1, 2, 3],
};
const cpuFlags = ["--device", "cpu", "--threads", "1"];

/** A folder of a study with its settings, in the working directory. */
function studyFolder(name: string, more: object = {}): string {
  mkdirSync(join(cwd, name));
  writeFileSync(join(cwd, name, "study.json"), JSON.stringify({ ...settings, ...more }));
  return name;
}

const compare = (...args: string[]) => run(["compare", ...cpuFlags, ...args], { cwd });

/** The records of a study without what depends on time. */
const recordsOf = (name: string) =>
  readFileSync(join(cwd, name, "runs.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => {
      const { seconds: _, ...record } = JSON.parse(line);
      return record;
    });

beforeAll(async () => {
  studyFolder("whole");
  const { code, stderr } = await compare("--study", "whole");
  expect(code, stderr).toBe(0);
});

describe("a whole study", () => {
  test("leaves records, results, a table, a page and figures, and no temporary files", () => {
    expect(readdirSync(join(cwd, "whole")).sort()).toEqual([
      ".gitignore",
      "figures",
      "report.html",
      "results.json",
      "results.md",
      "runs.jsonl",
      "study.json",
    ]);
    expect(JSON.parse(readFileSync(join(cwd, "whole/results.json"), "utf8"))).toMatchObject({
      complete: true,
      study: { title: "Tiny" },
    });
    expect(readFileSync(join(cwd, "whole/.gitignore"), "utf8")).toContain("running/");
  });

  test("prints its table; with --json the results are the last line", async () => {
    const { code, stdout, stderr } = await compare("--study", "whole");
    expect(code).toBe(0);
    expect(stdout).toContain(readFileSync(join(cwd, "whole/results.md"), "utf8"));
    expect(stdout).toContain("whole/report.html");
    expect(stderr).toBe("");
    const json = await compare("--study", "whole", "--json");
    expect(lastLine(json.stdout)).toEqual(JSON.parse(readFileSync(join(cwd, "whole/results.json"), "utf8")));
    expect(json.stdout.trimEnd().split("\n")).toHaveLength(1);
  });

  test("reports each run and the remaining time", async () => {
    studyFolder("told");
    const { stderr } = await compare("--study", "told");
    const lines = stderr.split("\n").filter((line) => /^\[\d+\/\d+\]/.test(line));
    expect(lines).toHaveLength(recordsOf("told").length);
    expect(lines[1]).toMatch(
      /^\[2\/\d+\] mlp tiny sgd 30 steps, tuning: linear 0\.02 seed 0: validation loss \d\.\d{4}, accuracy [\d.]+ %, .* {2}about .* left$/,
    );
    expect(lines.at(-1)).toMatch(/final: uba [\d.]+ φ 2 seed 3: test loss/);
    expect(recordsOf("told")).toEqual(recordsOf("whole"));
  });
});

describe("a disturbed study", () => {
  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
    "stops within a run at %s, exits with 130, prints how to continue, and then has the same records",
    async (signal) => {
      const name = studyFolder(`stopped-by-${signal}`);
      const interrupt = { signal, file: join(cwd, name, "runs.jsonl"), lines: 3 };
      const { code, stderr } = await run(["compare", ...cpuFlags, "--study", name], { cwd, interrupt });
      expect(code).toBe(130);
      expect(stderr).toContain("interrupted; continue with:\n  node ");
      expect(stderr).toMatch(new RegExp(`main\\.js compare --study ${name}\n$`));
      // What there is can be read, and the folder is free.
      expect(readFileSync(join(cwd, name, "results.md"), "utf8")).toContain("The study is not finished");
      expect(existsSync(join(cwd, name, "lock"))).toBe(false);
      expect((await compare("--study", name)).code).toBe(0);
      expect(recordsOf(name)).toEqual(recordsOf("whole"));
    },
  );

  test("ends with the same records if it is killed repeatedly", async () => {
    const name = studyFolder("killed");
    for (const runs of [1, 4, 7, 8]) {
      const file = join(cwd, name, "runs.jsonl");
      const interrupt = { signal: "SIGKILL", file, lines: runs, delay: Math.random() * 20 } as const;
      expect((await run(["compare", ...cpuFlags, "--study", name], { cwd, interrupt })).signal).toBe("SIGKILL");
    }
    expect((await compare("--study", name)).code).toBe(0);
    expect(recordsOf(name)).toEqual(recordsOf("whole"));
    expect(readdirSync(join(cwd, name)).sort()).toEqual(readdirSync(join(cwd, "whole")).sort());
  });

  test("a torn last line is set aside with a message, and its run is repeated", async () => {
    const name = "torn";
    cpSync(join(cwd, "whole"), join(cwd, name), { recursive: true });
    const path = join(cwd, name, "runs.jsonl");
    truncateSync(path, readFileSync(path).length - 100);
    const { code, stderr } = await compare("--study", name);
    expect(code).toBe(0);
    expect(stderr).toMatch(/runs\.jsonl: 1 line holds no finished run; set aside in .*runs\.jsonl\.damaged-\d+/);
    expect(recordsOf(name)).toEqual(recordsOf("whole"));
  });

  test("a record of a run with non-finite losses is kept unchanged", async () => {
    const name = "not-finite";
    cpSync(join(cwd, "whole"), join(cwd, name), { recursive: true });
    const path = join(cwd, name, "runs.jsonl");
    const changed = readFileSync(path, "utf8").replaceAll(
      /("trainLoss":)[^,]*(.*"curve":.*"loss":\[)[^,]*/g,
      '$1"NaN"$2"NaN"',
    );
    writeFileSync(path, changed);
    const { code, stderr } = await compare("--study", name);
    expect([code, stderr]).toEqual([0, ""]);
    expect(readFileSync(path, "utf8")).toBe(changed);
    expect(readFileSync(join(cwd, name, "results.md"), "utf8")).toBe(
      readFileSync(join(cwd, "whole/results.md"), "utf8"),
    );
  });

  test("two processes cannot work in one folder", async () => {
    const name = studyFolder("shared", { steps: 1500 });
    const { child, done } = start(["compare", ...cpuFlags, "--study", name], { cwd });
    await linesIn(join(cwd, name, "runs.jsonl"), 1);
    const { code, stderr } = await compare("--study", name);
    expect(code).toBe(1);
    expect(stderr).toContain(`error: ${name}/lock: process ${child.pid} on `);
    // But a report may be wanted.
    const report = await compare("--study", name, "--only", "report");
    expect([report.code, report.stdout]).toEqual([0, expect.stringContaining("The study is not finished")]);
    child.kill("SIGINT");
    expect((await done).code).toBe(130);
  });

  test("a full disk is reported as such, and the results so far are kept", async () => {
    const name = studyFolder("full");
    // Files may have so many blocks of 512 bytes: the records do not fit.
    const { code, stderr } = await run(["compare", ...cpuFlags, "--study", name], {
      cwd,
      before: "trap '' XFSZ; ulimit -f 4",
    });
    expect(code).toBe(1);
    expect(stderr).toMatch(/error: full\/runs\.jsonl: could not be written/);
    expect((await compare("--study", name)).code).toBe(0);
    expect(recordsOf(name)).toEqual(recordsOf("whole"));
  });
});

describe("a study in parts", () => {
  test("--max-minutes starts no run after the time limit, and prints how to continue", async () => {
    const name = studyFolder("pieces");
    const first = await compare("--study", name, "--max-minutes", "0.00001");
    expect(first.code).toBe(0);
    expect(first.stderr).toContain(`stopped after 0.00001 minutes; continue with:\n`);
    expect((await compare("--study", name, "--max-minutes", "10")).code).toBe(0);
    expect(recordsOf(name)).toEqual(recordsOf("whole"));
  });

  test("--only tune, then --only final", async () => {
    const name = studyFolder("parts");
    expect((await compare("--study", name, "--only", "tune")).code).toBe(0);
    expect(new Set(recordsOf(name).map((record) => record.run.purpose))).toEqual(new Set(["tuning"]));
    const { stdout } = await compare("--study", name, "--only", "final");
    expect(stdout).not.toContain("The study is not finished");
    const ids = (of: string) => new Set(recordsOf(of).map(({ id }) => id));
    expect(ids(name)).toEqual(ids("whole"));
  });

  test("--only report needs neither data nor a device, and writes the same results", async () => {
    cpSync(join(cwd, "whole"), join(cwd, "report"), { recursive: true });
    const results = readFileSync(join(cwd, "report/results.json"), "utf8");
    writeFileSync(join(cwd, "report/results.json"), "");
    const { code } = await run(["compare", "--study", "report", "--only", "report", "--device", "cuda:7"], { cwd });
    expect(code).toBe(0);
    expect(readFileSync(join(cwd, "report/results.json"), "utf8")).toBe(results);
  });
});

describe("sources of the settings", () => {
  test("flags alone create a numbered folder, which needs no flags to continue", async () => {
    const flags = [
      "--models",
      "mlp",
      "--data",
      `idx:${data}`,
      "--steps",
      "8",
      "--budgets",
      "1",
      "--batch",
      "16",
      "--schedules",
      "linear,uba",
      "--peak-learning-rates",
      "0.001,0.01",
      "--uba",
      '{"peakLearningRates":[0.001],"phi":[1,4]}',
      "--final-seeds",
      "1",
      "--extensions",
      "0",
      "--optimizers",
      "sgd",
    ];
    const { code, stdout, stderr } = await compare(...flags);
    expect(code, stderr).toBe(0);
    expect(stdout).toContain("studies/1/report.html");
    expect(stdout).toContain("There are no intervals, because 1 final seed does not");
    expect(JSON.parse(readFileSync(join(cwd, "studies/1/study.json"), "utf8"))).toMatchObject({
      models: ["mlp"],
      steps: 8,
      uba: { phi: [1, 4] },
    });
    const again = await compare("--study", "studies/1");
    expect([again.code, again.stderr]).toEqual([0, ""]);
  });

  test("the same command with the same flags continues its study, also with two folders of one kind of data", async () => {
    const other = `idx:${tinyData(folder())}`;
    const flags = [
      "--models",
      "mlp",
      "--data",
      `idx:${data},${other}`,
      "--steps",
      "8",
      "--budgets",
      "1",
      "--batch",
      "16",
    ];
    const grid = ["--schedules", "linear,uba", "--extensions", "0", "--optimizers", "sgd", "--final-seeds", "1"];
    const command = [...flags, ...grid, "--study", "again"];
    const first = await compare(...command, "--max-minutes", "0.00001");
    expect(first.code, first.stderr).toBe(0);
    const stored = readFileSync(join(cwd, "again/study.json"), "utf8");
    const second = await compare(...command);
    expect(second.code, second.stderr).toBe(0);
    expect(second.stdout).not.toContain("The study is not finished");
    expect(readFileSync(join(cwd, "again/study.json"), "utf8")).toBe(stored);
    const runs = readFileSync(join(cwd, "again/runs.jsonl"), "utf8");
    // Repeating a default changes nothing. Another value than the study's is refused.
    const repeated = await compare(...command, "--validation", "0.1", "--kind", "training");
    expect([repeated.code, repeated.stderr]).toEqual([0, ""]);
    const changed = await compare(...command, "--validation", "0.2");
    expect(changed.code).toBe(2);
    expect(changed.stderr).toContain("error: --validation: expected the setting in again/study.json");
    expect(readFileSync(join(cwd, "again/runs.jsonl"), "utf8")).toBe(runs);
  });

  test("flags take precedence over a file outside the folder, and the folder stores the merged settings", async () => {
    const config = join(cwd, "elsewhere.json");
    writeFileSync(config, JSON.stringify(settings));
    const { code, stderr } = await compare("--config", config, "--study", "made", "--steps", "6", "--final-seeds", "7");
    expect(code, stderr).toBe(0);
    expect(JSON.parse(readFileSync(join(cwd, "made/study.json"), "utf8"))).toEqual({
      ...settings,
      steps: 6,
      finalSeeds: [7],
    });
    expect(new Set(recordsOf("made").map((record) => record.run.schedule.budget))).toEqual(new Set([3, 6]));
  });

  test("--data gives another path of the same data", async () => {
    cpSync(join(cwd, "whole"), join(cwd, "moved"), { recursive: true });
    const stored = readFileSync(join(cwd, "moved/study.json"), "utf8");
    const path = join(cwd, "moved/runs.jsonl");
    writeFileSync(path, `${readFileSync(path, "utf8").trimEnd().split("\n").slice(0, -2).join("\n")}\n`);
    const { code, stderr } = await compare("--study", "moved", "--data", `idx:${tinyData(folder())}`);
    expect(code, stderr).toBe(0);
    expect(recordsOf("moved")).toEqual(recordsOf("whole"));
    expect(readFileSync(join(cwd, "moved/study.json"), "utf8")).toBe(stored);
  });

  test("the folder's study.json stays unchanged under any spelling of its path, and the command to continue has the path of the data", async () => {
    const name = studyFolder("own-file");
    const stored = readFileSync(join(cwd, name, "study.json"), "utf8");
    const elsewhere = `idx:${tinyData(folder())}`;
    const config = join(cwd, ".", name, "..", name, "study.json");
    const { stderr } = await compare("--config", config, "--data", elsewhere, "--max-minutes", "0.00001");
    expect(stderr).toMatch(new RegExp(`compare --study \\S*${name} --data ${elsewhere}\n`));
    expect(readFileSync(join(cwd, name, "study.json"), "utf8")).toBe(stored);
  });

  test("a changed study.json keeps the runs that it still needs", async () => {
    cpSync(join(cwd, "whole"), join(cwd, "changed"), { recursive: true });
    writeFileSync(join(cwd, "changed/study.json"), JSON.stringify({ ...settings, finalSeeds: [1, 2, 3, 4] }));
    expect((await compare("--study", "changed")).code).toBe(0);
    expect(recordsOf("changed").slice(0, recordsOf("whole").length)).toEqual(recordsOf("whole"));
    expect(recordsOf("changed").length - recordsOf("whole").length).toBe(2 * 2);
  });
});

test("a study of quadratics is completed", async () => {
  const flags = [
    "--kind",
    "quadratics",
    "--condition-numbers",
    "8",
    "--budgets",
    "4,6",
    "--stability-limits",
    "2,8",
    "--floors",
    "1",
    "--schedules",
    "linear,uba",
  ];
  const { code, stdout, stderr } = await run(["compare", ...flags, "--study", "quadratics"], { cwd });
  expect(code, stderr).toBe(0);
  expect(stdout).toContain("## κ = 8, rates down to 1/λ_u");
  expect(stderr).toContain("4 of 4 problems solved");
  expect(readdirSync(join(cwd, "quadratics")).sort()).toEqual([
    ".gitignore",
    "figures",
    "report.html",
    "results.json",
    "results.md",
    "study.json",
  ]);
});

describe("a usage error is reported before anything is created", () => {
  // 15 budgets × 7 schedules × (4 trials + 1000 final runs)
  const many = {
    budgets: Array.from({ length: 15 }, (_, i) => (i + 1) / 15),
    finalSeeds: Array.from({ length: 1000 }, (_, i) => i + 1),
  };
  test.each<[string, string[], ...string[]]>([
    ["an unknown name", ["--models", "mlpp"], "error: --models[0]: expected one of", "did you mean mlp", '"mlpp"'],
    [
      "an unknown schedule in a file",
      ["--config", "bad.json"],
      "error: bad.json: schedules[1]: expected one of",
      "did you mean cosine",
    ],
    [
      "an unknown field in a file",
      ["--config", "typo.json"],
      "error: typo.json: budget: unknown field; did you mean budgets?",
    ],
    [
      "a budget above 1",
      ["--budgets", "0.5,2"],
      "error: --budgets[1]: expected a fraction of the full run, above 0 and at most 1, got 2",
    ],
    [
      "an empty list of models",
      ["--config", "empty.json"],
      "error: empty.json: models: expected at least one of model names, got []",
    ],
    ["unequal trials", ["--peak-learning-rates", "1,2,3"], "expected the same number of trials"],
    [
      "decreasing rates",
      ["--peak-learning-rates", "2,1"],
      "--peak-learning-rates: expected learning rates above 0, each larger",
    ],
    ["a rate of 0", ["--peak-learning-rates", "0,1"], "--peak-learning-rates[0]: expected a number above 0, got 0"],
    [
      "a tuning seed among the final seeds",
      ["--final-seeds", "0,1"],
      "--final-seeds: expected seeds that are not used for tuning (0 is)",
    ],
    ["an unknown part", ["--only", "tunes"], "--only: expected one of tune, final, report", "did you mean tune"],
    ["a missing file", ["--config", "none.json"], "none.json: the study's settings cannot be read"],
    ["a file that is not JSON", ["--config", "half.json"], "half.json: expected JSON"],
    ["a file with a JSON array", ["--config", "list.json"], "list.json: expected an object of settings, found"],
    [
      "a flag that contradicts the folder's settings",
      ["--study", "whole", "--steps", "7"],
      "--steps: expected the setting in whole/study.json",
    ],
    [
      "a path for data that the study does not have",
      ["--study", "whole", "--data", "mnist"],
      "--data: expected a location of the study's data (idx:",
    ],
    [
      "a report without a study",
      ["--only", "report", "--study", "nothing"],
      "--only report: expected --study or --config with an existing study",
    ],
    ["a part of quadratics", ["--kind", "quadratics", "--only", "tune", "--study", "q"], "--only: expected none"],
    ["minutes below 0", ["--max-minutes", "-1"], "--max-minutes: expected a number above 0"],
    [
      "too many runs in a file",
      ["--config", "many.json"],
      "error: many.json: expected at most 100000 runs, got 105420",
    ],
    [
      "too many runs by flags",
      ["--final-seeds", many.finalSeeds.join(), "--budgets", many.budgets.join()],
      "error: the study: expected at most 100000 runs, got 105420",
    ],
  ])("%s", async (_, args, ...words) => {
    writeFileSync(join(cwd, "bad.json"), '{"schedules": ["uba", "cosin"]}');
    writeFileSync(join(cwd, "typo.json"), '{"budget": [1]}');
    writeFileSync(join(cwd, "empty.json"), '{"models": []}');
    writeFileSync(join(cwd, "half.json"), '{"models": ');
    writeFileSync(join(cwd, "list.json"), "[1]");
    writeFileSync(join(cwd, "many.json"), JSON.stringify(many));
    const { code, stderr } = await run(["compare", ...args], { cwd });
    expect(code, stderr).toBe(2);
    for (const word of words) expect(stderr).toContain(word);
    expect(existsSync(join(cwd, "nothing"))).toBe(false);
  });

  test("a folder that cannot be created and missing data are errors", async () => {
    writeFileSync(join(cwd, "a-file"), "");
    const folderFails = await run(["compare", "--study", "a-file/study"], { cwd });
    expect([folderFails.code, folderFails.stderr]).toEqual([
      1,
      expect.stringContaining("a-file/study: cannot create the folder"),
    ]);
    studyFolder("no-data", { data: ["idx:no/such/folder"] });
    const dataFail = await compare("--study", "no-data");
    expect([dataFail.code, dataFail.stderr]).toEqual([1, expect.stringContaining("no/such/folder")]);
  });
});
