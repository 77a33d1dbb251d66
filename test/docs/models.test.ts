import { cpSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { configOf, create } from "#lib/models/index.js";
import { openDevice } from "#lib/native/index.js";
import { type GoldenNetwork, golden, writeTorchWeights } from "../models/support/resnets.js";
import { exampleFolder, examplesIn, root } from "./support/examples.js";

const page = readFileSync(join(root, "docs/models.md"), "utf8");

describe("docs/models.md", () => {
  const { path, output } = exampleFolder();

  test("the numbers of parameters are those of the models", async () => {
    const rows = [...page.matchAll(/^\| `(\w+)` \|[^|]*\| (\d+)×(\d+)×(\d+) \| (\d+) \| ([\d,]+) \|$/gm)];
    const device = await openDevice("cpu");
    const counted = rows.map(([, name, height, width, channels, classes]) => {
      const config = configOf(name as string, [height, width, channels].map(Number), Number(classes));
      // The large models are built and counted in test/models/resnets.test.ts.
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

  test("the examples run as written", () => {
    const network = golden.networks.find(({ name, stem }) => name === "resnet50" && stem === "imagenet")!;
    renameSync(writeTorchWeights(path(), network), join(path(), "resnet50.safetensors"));
    const [load, tune, decoder, custom, ...more] = examplesIn(page);
    expect(more).toEqual([]);
    const shapes = "console.log(model.stages, tuned.classifier.weight.shape, model.training);";
    expect(output(`${load}${tune}${shapes}await device.close();`)).toBe("[ 3, 4, 6, 3 ] [ 5, 2048 ] false\n");
    cpSync(join(root, "test/golden/huggingface/olmo2"), join(path(), "OLMo-2-0425-1B"), { recursive: true });
    expect(output(`${decoder}await device.close();`)).toBe("2 [ 1, 3, 19 ]\n");
    const probe = `import { openDevice } from "stepsize";
      const device = await openDevice("cpu");
      const probe = new Probe(device);
      console.log([...probe.stateDict().keys()].every((path) => probe.torchNames().names.has(path)));
      await device.close();`;
    expect(output(`${custom}${probe}`)).toBe("true\n");
  });
});
