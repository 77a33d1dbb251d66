import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { run } from "../cli/support/cli.js";
import { exampleFolder, examplesIn, root } from "./support/examples.js";

const page = readFileSync(join(root, "docs/export.md"), "utf8");
const [predictions, ...moreTypeScript] = examplesIn(page);

describe("docs/export.md", () => {
  const { path, output } = exampleFolder();

  test("has exactly these blocks", () => {
    expect(predictions).toBeDefined();
    expect(moreTypeScript).toEqual([]);
  });

  test("the prediction of a model of the command line is right", async () => {
    mkdirSync(path(), { recursive: true });
    const args = [
      "train",
      "--model",
      "mlp",
      "--data",
      "mnist",
      "--budget",
      "60",
      "--max-lr",
      "0.002",
      "--run",
      "runs/1",
    ];
    const { code, stderr } = await run(args, { cwd: path() });
    expect(code, stderr).toBe(0);
    // The page has the number of steps of `npm start`.
    const printed = output(predictions!.replace("step-600", "step-60"));
    expect(printed).toBe("7, and the label is 7\n");
  });
});
