import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { openDevice } from "#lib/native/index.js";
import { optimizerNames } from "#lib/optim/by-name.js";
import { uba } from "#lib/schedule/index.js";
import {
  assembleRun,
  isSource,
  makeOptimizer,
  openTask,
  parseSource,
  resolveSource,
  sourcesInWords,
  type Task,
} from "#lib/tasks/index.js";
import type { Tensor } from "#lib/tensor/index.js";
import { classCount, side, testItems, tinyData } from "../cli/support/tiny-data.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";

const folders = temporaryFolders();
const data = tinyData(folders());
const source = `idx:${data}`;
const device = await openDevice("cpu", { threads: 1 });
afterAll(() => device.close());

describe("sources", () => {
  test.each(["mnist", "mnist:a", "fashion-mnist", "idx:a", "idx:/a/b", "cifar10:c:d", "images:a b"])(
    "%s is valid",
    (text) => {
      expect(isSource(text)).toBe(true);
    },
  );

  test.each(["", "minst", "mnist:", "idx", "idx:", "images", "tokens", "constructor"])(
    '"%s" is invalid and is refused',
    async (text) => {
      expect(isSource(text)).toBe(false);
      await expectError(() => openTask(text), "invalid-argument", sourcesInWords, `"${text}"`);
    },
  );

  test("are listed in words", () => {
    expect(sourcesInWords).toMatch(
      /^mnist\[:<dir>\], fashion-mnist\[:<dir>\], idx:<dir>, cifar10:<path>, images:<dir>/,
    );
  });

  test("without their place may only be accepted to say where the files come from", async () => {
    expect(isSource("cifar10")).toBe(true);
    await expectError(
      () => openTask("cifar10"),
      "invalid-argument",
      "data: expected cifar10:<path>",
      "kriz/cifar.html",
    );
  });

  test("have a kind and a place, which may contain colons", () => {
    expect([parseSource("mnist"), parseSource("idx:a:b")]).toEqual([{ kind: "mnist" }, { kind: "idx", place: "a:b" }]);
  });

  test("are resolved from the working directory", () => {
    expect([resolveSource("mnist"), resolveSource("idx:a")]).toEqual(["mnist", `idx:${join(process.cwd(), "a")}`]);
  });
});

describe("an image task", () => {
  const options = { classes: classCount, validation: { share: 0.25, seed: 7 } };

  test("has splits, models and a card", async () => {
    const task = await openTask(source, options);
    expect(task).toMatchObject({
      unit: "images",
      unitsPerItem: 1,
      lengths: { train: 72, validation: 24, test: testItems },
    });
    expect(task.name).toBe(`idx:${data.split("/").at(-1)}`);
    const config = task.modelConfig("mlp");
    expect(config).toEqual({ kind: "mlp", inputs: side * side, classes: classCount });
    const card = task.card(config);
    expect(card).toMatchObject({
      config,
      classes: ["0", "1", "2"],
      preprocessing: { shape: [side, side, 1], scale: 1 / 255 },
    });
    await expectError(() => task.modelConfig("resnet9"), "invalid-argument", "resnet9");
  });

  test("normalizes with the training part only", async () => {
    const [whole, part] = [await openTask(source, { classes: 3 }), await openTask(source, options)];
    const mean = (task: Task) => task.card(task.modelConfig("mlp")).preprocessing?.mean[0];
    expect(mean(part)).not.toBe(mean(whole));
  });

  test("has no validation split unless requested", async () => {
    const task = await openTask(source, { classes: 3 });
    expect(task.lengths).toEqual({ train: 96, test: testItems });
    await expectError(() => task.evaluationBatches("validation"), "invalid-state", "no validation split");
  });

  test("evaluates all items of a split once, or a smaller number spread over it", async () => {
    const task = await openTask(source, { classes: 3 });
    const labelsOf = async (maxItems?: number) => {
      const batches = task.evaluationBatches("test", maxItems);
      const labels: number[] = [];
      for await (const batch of batches.once()) labels.push(...(batch.labels as Int32Array));
      await batches.close();
      return labels;
    };
    const all = await labelsOf();
    expect(all).toHaveLength(testItems);
    expect(await labelsOf(1000)).toEqual(all);
    expect(await labelsOf(8)).toEqual([0, 5, 10, 15, 20, 25, 30, 35].map((i) => all[i]));
    expect(await labelsOf(3)).toEqual([0, 13, 26].map((i) => all[i]));
  });

  test.each([
    [undefined, { pad: 0, flip: false }],
    [true, { pad: 4, flip: false }],
  ])("with augment %s changes images as suits digits", async (augment, expected) => {
    const batches = (await openTask(source, options)).trainingBatches({ size: 8, seed: 1, augment });
    expect(batches.toJSON()).toMatchObject({ augment: expected, seed: 1 });
    await batches.close();
  });

  test("mirrors images for CIFAR-10", async () => {
    const folder = folders();
    for (const name of [1, 2, 3, 4, 5].map((n) => `data_batch_${n}.bin`).concat("test_batch.bin"))
      writeFileSync(join(folder, name), new Uint8Array(2 * 3073).fill(3));
    const task = await openTask(`cifar10:${folder}`);
    expect(task.name).toBe("cifar10");
    const batches = task.trainingBatches({ size: 2, seed: 0, augment: true });
    expect(batches.toJSON()).toMatchObject({ augment: { pad: 4, flip: true } });
    await batches.close();
  });

  test("has no windows", async () => {
    await expectError(() => openTask(source, { context: 4 }), "invalid-argument", "context", "4");
  });
});

describe("a fingerprint", () => {
  const printOf = async (folder: string, more = {}) =>
    (await openTask(`idx:${folder}`, { classes: 3, ...more })).fingerprint();

  test("depends only on the data, not on their path or the validation split", async () => {
    const print = await printOf(data);
    expect(print).toMatch(/^[0-9a-f]{12}$/);
    expect(await printOf(tinyData(folders()))).toBe(print);
    expect(await printOf(data, { validation: { share: 0.5, seed: 1 } })).toBe(print);
  });

  test.each(["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])(
    "changes if a byte changes in %s",
    async (name) => {
      const folder = tinyData(folders());
      const bytes = readFileSync(join(folder, name));
      bytes[30] = bytes[30] === 0 ? 1 : 0;
      writeFileSync(join(folder, name), bytes);
      expect(await printOf(folder)).not.toBe(await printOf(data));
    },
  );
});

describe("an assembled run", () => {
  const settings = {
    model: "mlp",
    batch: 8,
    accumulate: 1,
    augment: false,
    seed: 3,
    optimizer: "sgd",
    weightDecay: 0.5,
    nonFinite: "stop",
  } as const;

  test.each(optimizerNames)("has the optimizer %s, without decay of norms and biases", async (optimizer) => {
    const task = await openTask(source, { classes: 3 });
    const { model, close } = assembleRun(
      { ...settings, optimizer },
      { task, device, schedule: uba({ budget: 5, maxLr: 0.1 }) },
    );
    const made = makeOptimizer(model, { ...settings, optimizer }, uba({ budget: 5, maxLr: 0.1 }));
    expect(made.toJSON()).toMatchObject({
      optimizer: { sgd: "SGD", adam: "Adam", adamw: "AdamW", lion: "Lion" }[optimizer],
    });
    const seen = made.groups.flatMap(({ options, parameters }) =>
      parameters.map((parameter) => [
        (parameter as Tensor).shape.length,
        (options as { weightDecay?: number }).weightDecay,
      ]),
    );
    expect(seen.length).toBe(model.parameters().length);
    for (const [axes, decay] of seen) expect(decay).toBe(axes === 1 ? 0 : 0.5);
    made.dispose();
    await close();
  });

  test("trains, and releases all its memory", async () => {
    const task = await openTask(source, { classes: 3 });
    const before = device.memory();
    const { trainer, close } = assembleRun(settings, { task, device, schedule: uba({ budget: 5, maxLr: 0.01 }) });
    let steps = 0;
    for await (const { loss } of trainer.run()) {
      expect(loss).toBeGreaterThan(0);
      steps++;
    }
    expect(steps).toBe(5);
    expect(device.memory().tensors).toBeGreaterThan(before.tensors);
    await close();
    expect(device.memory()).toMatchObject({ allocated: before.allocated, tensors: before.tensors });
  });
});
