import { join } from "node:path";
import { describe, expect, it } from "vitest";
import * as nn from "#lib/nn/index.js";
import { SGD } from "#lib/optim/index.js";
import * as t from "#lib/tensor/index.js";
import { type LoadedModel, loadModel } from "#lib/weights/index.js";
import { bits } from "../support/compare.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import {
  budget,
  card,
  classes,
  device,
  dropoutMLP,
  dropping,
  images,
  type Run,
  recordsOf,
  residual,
  runOf,
} from "../train/support/runs.js";

const folder = temporaryFolders();
const on = await device();

async function trained(run: Run): Promise<string> {
  const path = join(folder(), "model.safetensors");
  await recordsOf(run.trainer);
  await run.trainer.save(path);
  return path;
}

/** The bits of a model's outputs for raw images, in evaluation. */
async function outputs({ model, prepare }: Pick<LoadedModel, "model" | "prepare">, raw: Uint8Array, where = on) {
  const result = t.noGrad(() =>
    t.tidy(() => model.forward(prepare(t.tensor(where, raw, [raw.length / 144, 12, 12, 1])))),
  );
  return bits(await result.read()).toString("hex");
}

describe("loadModel", () => {
  it("returns the card: the model's configuration, preprocessing and class names", async () => {
    const loaded = await loadModel(await trained(residual.make(on)), { device: on });
    expect(loaded.card).toEqual(card);
    expect(loaded.step).toBe(budget);
    expect(loaded.model.training).toBe(false);
  });

  it("predicts the same as the trained model, from raw bytes and on another device", async () => {
    const run = residual.make(on);
    const path = await trained(run);
    const raw = images.inputs.data.slice(0, 8 * 144) as Uint8Array;
    const normalize = new nn.Preprocessing(card.preprocessing as nn.PreprocessingOptions);
    run.model.eval();
    const expected = await outputs({ model: run.model, prepare: (x) => normalize.apply(x) }, raw);
    const other = await device();
    const loaded = await loadModel(path, { device: other });
    expect(await outputs(loaded, raw, other)).toBe(expected);
  });

  it("is sufficient to classify a raw image by name", async () => {
    const {
      model,
      prepare,
      card: read,
    } = await loadModel(await trained(residual.make(on, { budget: 30 })), { device: on });
    const raw = t.tensor(on, images.inputs.data.slice(0, 4 * 144), [4, 12, 12, 1]);
    const best = await t.noGrad(() => t.argmax(model.forward(prepare(raw)))).read();
    expect([...best].map((index) => read.classes?.[index])).toEqual(classes);
  });

  it("requires a build function for a custom model", async () => {
    const run = dropping.make(on);
    const path = await trained(run);
    await expectError(() => loadModel(path, { device: on }), "invalid-argument", path, "build");
    const loaded = await loadModel(path, { device: on, build: () => dropoutMLP(on, 50) });
    expect(loaded.card.config).toBeUndefined();
    const raw = images.inputs.data.slice(0, 144) as Uint8Array;
    run.model.eval();
    expect(await outputs(loaded, raw)).toBe(await outputs({ ...loaded, model: run.model }, raw));
  });

  it("names the difference if the built model does not match", async () => {
    const path = await trained(residual.make(on));
    const build = () => dropoutMLP(on);
    await expectError(
      () => loadModel(path, { device: on, build }),
      "invalid-file",
      "1.weight is missing",
      "more differences",
    );
  });

  it("leaves inputs unchanged if no preprocessing was saved", async () => {
    const model = dropoutMLP(on);
    const run = residual.make(on, {
      model,
      optimizer: new SGD(model.parameters(), { lr: 0.1 }),
      card: { classes },
      budget: 1,
    });
    const path = join(folder(), "plain.safetensors");
    await run.trainer.save(path);
    const loaded = await loadModel(path, { device: on, build: () => dropoutMLP(on) });
    expect(loaded.card).toEqual({ config: undefined, preprocessing: undefined, classes });
    const raw = t.zeros(on, [2, 3]);
    expect(loaded.prepare(raw)).toBe(raw);
  });

  it("refuses a missing file and a file that is not a checkpoint", async () => {
    await expectError(() => loadModel(join(folder(), "none"), { device: on }), "not-found", "none");
    await expectError(() => loadModel(folder(), { device: on }), "invalid-file", "is a folder");
  });
});

it("a trainer refuses preprocessing that contradicts its shape", () => {
  const wrong = { ...card, preprocessing: { ...(card.preprocessing as nn.PreprocessingOptions), mean: [0, 0] } };
  const { model, optimizer, data } = residual.make(on);
  expect(() => runOf({ model, optimizer, loss: nn.crossEntropy, data, card: wrong })).toThrow("preprocessing.mean");
});
