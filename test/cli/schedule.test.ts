import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DOMParser } from "linkedom";
import { describe, expect, test } from "vitest";
import { flagOf } from "#lib/cli/output/text.js";
import { catalog, create, tabulate } from "#lib/schedule/index.js";
import { temporaryFolders } from "../support/folders.js";
import { run } from "./support/cli.js";

const folder = temporaryFolders();

describe("--csv", () => {
  test.each([
    ["uba", ["--phi", "5", "--warmup", "10"], { phi: 5, warmup: 10 }],
    ["step", ["--milestones", "0.2,0.7", "--gamma", "0.3"], { milestones: [0.2, 0.7], gamma: 0.3 }],
    ["one-cycle", ["--arms", "linear", "--rise-fraction", "0.4"], { arms: "linear", riseFraction: 0.4 }],
    [
      "cosine",
      ["--convention", "peers", "--warmup", "8", "--hold", "20"],
      { convention: "peers", warmup: 8, hold: 20 },
    ],
    ["one-cycle-momentum", ["--three-phase", "--rise-fraction", "0.2"], { threePhase: true, riseFraction: 0.2 }],
    [
      "uba",
      ["--phases", '[{"iterations":60},{"iterations":40,"maxLr":0.05}]'],
      { phases: [{ iterations: 60 }, { iterations: 40, maxLr: 0.05 }] },
    ],
  ])("%s %j gives the library's values, digit for digit", async (name, flags, options) => {
    const { code, stdout, stderr } = await run([
      "schedule",
      name,
      "--budget",
      "100",
      "--max-lr",
      "0.2",
      ...flags,
      "--csv",
    ]);
    expect(code, stderr).toBe(0);
    const [head, ...rows] = stdout.trimEnd().split("\n");
    expect(head).toBe("step,learningRate");
    const expected = tabulate(create(name, { budget: 100, maxLr: 0.2, ...options }));
    expect(rows.map((row) => row.split(",").map(Number))).toEqual([...expected].map((rate, step) => [step, rate]));
  });

  test("joined schedules take their rates and their budget from their parts", async () => {
    const parts = [
      { name: "constant", budget: 30, maxLr: 0.2, warmup: 5 },
      { name: "one-minus-sqrt", budget: 10, maxLr: 0.2 },
    ];
    const { stdout } = await run(["schedule", "joined", "--parts", JSON.stringify(parts), "--csv"]);
    const rates = stdout
      .trimEnd()
      .split("\n")
      .slice(1)
      .map((row) => Number(row.split(",")[1]));
    expect(rates).toEqual([...tabulate(create("joined", { parts }))]);
    const refused = await run(["schedule", "joined", "--max-lr", "1", "--parts", JSON.stringify(parts)]);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain("--max-lr: not an option of the schedule joined; its options are budget, parts");
  });

  test("a long budget is printed completely, and rows that cannot be written are an error", async () => {
    const { stdout } = await run(["schedule", "cosine", "--budget", "120000", "--csv"]);
    const rows = stdout.trimEnd().split("\n");
    expect(rows).toHaveLength(120_001);
    expect(rows.at(-1)).toBe(`119999,${create("cosine", { budget: 120_000, maxLr: 0.1 })(119_999)}`);
    const outcome = await run(["schedule", "cosine", "--csv"], { before: "exec >/dev/full" });
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toContain("error: cannot write to standard output (");
  });
});

test("--svg writes a standalone figure", async () => {
  const cwd = folder();
  const { code, stdout } = await run(["schedule", "cosine-restarts", "--budget", "200000", "--svg", "a/b.svg"], {
    cwd,
  });
  expect({ code, stdout }).toEqual({ code: 0, stdout: "" });
  const text = readFileSync(join(cwd, "a/b.svg"), "utf8");
  const svg = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  expect(svg.getAttribute("xmlns")).toBe("http://www.w3.org/2000/svg");
  const paths = [...svg.querySelectorAll('[stroke="var(--rate)"] path, path[stroke="var(--rate)"]')];
  // Three restarts fall from the top of the plot to its bottom; thinned, as 200,000 points are too many to draw.
  const points = Math.max(...paths.map((path) => (path.getAttribute("d") ?? "").split("L").length));
  expect(points).toBeGreaterThan(500);
  expect(points).toBeLessThan(5000);
  expect(text).toContain("prefers-color-scheme:dark");
});

describe("the figure in the terminal", () => {
  test("has the axes of the schedule and fits the width", async () => {
    const { code, stdout } = await run(["schedule", "uba", "--budget", "1000", "--max-lr", "0.1", "--phi", "5"]);
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split("\n");
    expect(lines[0]).toBe("uba: budget 1000, maxLr 0.1, minLr 0, warmup 0, phi 5");
    expect(lines.at(-1)?.trim().split(/ +/)).toEqual(["0", "250", "500", "749", "999"]);
    expect(lines.filter((line) => /^ *(0\.1|0\.075|0\.05|0\.025|0)┤/.test(line))).toHaveLength(5);
    expect(Math.max(...lines.map((line) => line.trimEnd().length))).toBeLessThanOrEqual(80);
    // Falling: the curve's marks start high on the left and end low on the right.
    const columns = lines.filter((line) => /[┤│]/.test(line)).map((line) => line.slice(line.search(/[┤│]/) + 1));
    expect(columns[0]?.trimStart()).toMatch(/^━/);
    expect(columns.at(-1)?.trimEnd()).toMatch(/━$/);
    expect(columns[0]?.search(/[━┓]/)).toBeLessThan(columns.at(-1)?.search(/[━┗]/) ?? 0);
  });

  test.each(["1", "2", "100000000"])("is drawn for a budget of %s", async (budget) => {
    const { code, stdout, stderr } = await run(["schedule", "linear", "--budget", budget]);
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(budget === "1" ? /^step 0: 0\.1\n$/ : new RegExp(`^linear: budget ${budget}, `));
    expect(stdout.length).toBeLessThan(8000);
  });
});

test("--list has every schedule with every option", async () => {
  const { code, stdout } = await run(["schedule", "--list"]);
  expect(code).toBe(0);
  for (const { name, options } of catalog) {
    const part = stdout.split("\n\n").find((text) => text.startsWith(`${name}:`)) ?? "";
    for (const option of options) expect(part).toContain(`${flagOf(option.name)} `);
  }
});
