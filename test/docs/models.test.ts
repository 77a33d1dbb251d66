import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { configOf, create } from "#lib/models/index.js";
import { openDevice } from "#lib/native/index.js";
import { type GoldenNetwork, golden, writeTorchWeights } from "../models/support/resnets.js";

const root = resolve(import.meta.dirname, "../..");
const page = readFileSync(join(root, "docs/models.md"), "utf8");

describe("docs/models.md", () => {
  // Inside the clone, because the examples import the package by its name.
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(root, "dist", "models-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("its numbers of parameters are those of the models", async () => {
    const rows = [...page.matchAll(/^\| `(\w+)` \|[^|]*\| (\d+)×(\d+)×(\d+) \| (\d+) \| ([\d,]+) \|$/gm)];
    const device = await openDevice("cpu");
    const counted = rows.map(([, name, height, width, channels, classes]) => {
      const config = configOf(name as string, [height, width, channels].map(Number), Number(classes));
      // The large ones are built and counted in test/models/resnets.test.ts.
      const isSame = (one: GoldenNetwork) => "stem" in config && one.name === config.kind && one.stem === config.stem;
      const large = golden.networks.find((one) => isSame(one) && one.classes === Number(classes));
      return (
        large?.parameters ??
        create(config, { device })
          .parameters()
          .reduce((sum, { size }) => sum + size, 0)
      );
    });
    await device.close();
    expect(rows.length).toBe(10);
    expect(counted).toEqual(rows.map((row) => Number(row[6]?.replaceAll(",", ""))));
  });

  /** Runs TypeScript and gives what it printed. */
  function output(text: string): string {
    const file = join(folder, "example.ts");
    writeFileSync(file, text);
    const run = spawnSync(process.execPath, [join(root, "node_modules/tsx/dist/cli.mjs"), file], {
      cwd: folder,
      encoding: "utf8",
    });
    expect(run.status, run.stderr).toBe(0);
    return run.stdout;
  }

  test("its examples run as written", () => {
    const network = golden.networks.find(({ name, stem }) => name === "resnet50" && stem === "imagenet")!;
    renameSync(writeTorchWeights(folder, network), join(folder, "resnet50.safetensors"));
    const [load, tune, own, ...more] = [...page.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1]);
    expect(more).toEqual([]);
    const shapes = "console.log(model.stages, tuned.classifier.weight.shape, model.training);";
    expect(output(`${load}${tune}${shapes}await device.close();`)).toBe("[ 3, 4, 6, 3 ] [ 5, 2048 ] false\n");
    const probe = `import { openDevice } from "stepsize";
      const device = await openDevice("cpu");
      const probe = new Probe(device);
      console.log([...probe.stateDict().keys()].every((path) => probe.torchNames().names.has(path)));
      await device.close();`;
    expect(output(`${own}${probe}`)).toBe("true\n");
  });
});
