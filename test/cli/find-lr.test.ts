import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryFolders } from "../support/folders.js";
import { run } from "./support/cli.js";
import { tinyData, trainTiny } from "./support/tiny-data.js";

const folder = temporaryFolders();

describe("find-lr", () => {
  test("prints the curve, its marks and a command, and draws them", async () => {
    const [cwd, data] = [folder(), tinyData(folder())];
    const [, ...settings] = trainTiny(data, "--seed", "1").filter((word) => word !== "--max-lr" && word !== "0.001");
    const args = ["find-lr", ...settings, "--steps", "40", "--figure", "sweep.svg"];
    const { code, stdout, stderr } = await run(args, { cwd });
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^mlp on idx:.*, adamw, batches of 16: \d+ steps at learning rates from 1e-6 to /);
    expect(stdout).toMatch(/^lowest loss {2}at \d/m);
    expect(stdout).toMatch(/^diverged {5}at \d/m);
    const suggestion = /^suggestion {3}--max-lr (\S+)$/m.exec(stdout)?.[1];
    expect(Number(suggestion)).toBeGreaterThan(1e-6);
    expect(stdout).toContain("┤");
    expect(
      Math.max(
        ...stdout
          .split("\n\n")
          .slice(0, 3)
          .join("\n")
          .split("\n")
          .slice(1)
          .map((line) => line.length),
      ),
    ).toBeLessThan(81);
    const svg = readFileSync(join(cwd, "sweep.svg"), "utf8");
    for (const label of ["learning rate", "suggestion", "diverged", "lowest", "steepest"]) expect(svg).toContain(label);

    // The printed command is complete: it trains with the same settings and the suggested rate.
    const command = stdout.trimEnd().split("\n").at(-1)?.trim().split(" ") ?? [];
    const trained = await run([...command.slice(command.indexOf("train")), "--budget", "2"], { cwd });
    expect(trained.code, trained.stderr).toBe(0);
    const config = JSON.parse(readFileSync(join(cwd, "runs/1/config.json"), "utf8"));
    expect(config).toMatchObject({ model: "mlp", batch: 16, seed: 1, classes: 3, maxLr: Number(suggestion) });

    // The settings of a run, and one JSON document with the same curve.
    const again = ["find-lr", "--config", "runs/1/config.json", "--steps", "40", "--json"];
    const json = JSON.parse((await run(again, { cwd })).stdout);
    expect(Number(json.suggestion.toPrecision(2))).toBe(Number(suggestion));
    expect(json).toMatchObject({ model: "mlp", optimizer: "adamw", batch: 16, from: 1e-6, to: 10, steps: 40 });
    expect(json.points.length).toBeGreaterThan(10);
  });

  test("says what to do if there is no suggestion", async () => {
    const settings = trainTiny(tinyData(folder())).slice(1, -2);
    const { code, stdout } = await run(["find-lr", ...settings, "--to", "1e-5", "--steps", "20"], { cwd: folder() });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^suggestion {3}none; the loss did not diverge: try a higher --to$/m);
    expect(stdout).not.toContain("Train with it");
  });
});
