import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { InferenceSession, Tensor as OnnxTensor } from "onnxruntime-node";
import { beforeAll, describe, expect, test } from "vitest";
import * as models from "#lib/models/index.js";
import { openDevice } from "#lib/native/index.js";
import type { Module } from "#lib/nn/index.js";
import { tensor } from "#lib/tensor/index.js";
import { loadModel, loadTorchWeights, toTorchWeights } from "#lib/weights/index.js";
import { temporaryFolders } from "../support/folders.js";
import { readStored } from "../weights/support/read-stored.js";
import { lastLine, run } from "./support/cli.js";
import { classCount, side, testItems, tinyData, tinyImages, trainTiny } from "./support/tiny-data.js";

const folder = temporaryFolders();
const device = await openDevice("cpu");
const checkpoint = "run/checkpoints/step-8.safetensors";
let cwd: string;

async function exported(...args: string[]) {
  const { code, stdout, stderr } = await run(["export", "--checkpoint", "run", "--json", ...args], { cwd });
  expect(code, stderr).toBe(0);
  return { result: lastLine(stdout), stderr };
}

/** Trains a text model for two steps, in float32 with AdamW. */
async function trainText(): Promise<void> {
  if (existsSync(join(cwd, "text"))) return;
  const args = ["train", "--model", "olmo-nano", "--data", "tokens:tokens", "--context", "8", "--threads", "1"];
  const texts = Array.from({ length: 4 }, (_, i) => `text-${i}.txt`);
  for (const name of texts) writeFileSync(join(cwd, name), "to be or not to be, that is the question ".repeat(10));
  await run(["tokenize", ...texts, "--out", "tokens", "--validation", "0.25", "--test", "0.25"], { cwd });
  const { code, stderr } = await run([...args, "--budget", "2", "--batch", "2", "--run", "text"], { cwd });
  expect(code, stderr).toBe(0);
}

beforeAll(async () => {
  cwd = folder();
  const data = tinyData(folder());
  const more = ["--model", "resnet8", "--budget", "8", "--run", "run", "--precision", "bf16"];
  const { code, stderr } = await run(trainTiny(data, ...more), { cwd });
  expect(code, stderr).toBe(0);
});

describe("export --to safetensors", () => {
  const stateOf = async (model: Module) =>
    new Map(
      await Promise.all(
        [...(await toTorchWeights(model))].map(
          async ([name, one]) => [name, { shape: one.shape, values: [...(await one.read())] }] as const,
        ),
      ),
    );

  test("writes the weights alone, with PyTorch's names, and what is needed to use them", async () => {
    const { result, stderr } = await exported("--to", "safetensors");
    const path = join(cwd, "model.safetensors");
    expect(result).toEqual({
      checkpoint,
      step: 8,
      to: "safetensors",
      out: "model.safetensors",
      bytes: statSync(path).size,
    });
    const { model, card } = await loadModel(join(cwd, checkpoint), { device });
    const expected = await toTorchWeights(model);
    const { stored, metadata } = await readStored(path);
    expect([...stored.keys()].sort()).toEqual([...expected.keys()].sort());
    expect([...stored.keys()]).toContain("layer2.0.downsample.1.running_var");
    for (const [name, { shape, code }] of stored) {
      expect(shape, name).toEqual(expected.get(name)?.shape);
      expect(code, name).toBe(name.includes("running_") ? "F32" : "BF16");
    }
    const numbers = [...expected.values()].reduce((sum, { size }) => sum + size, 0);
    expect(stderr).toContain(`${stored.size} tensors, ${numbers.toLocaleString("en-US")} numbers`);
    const { format, ...texts } = metadata;
    expect(format).toBe("pt");
    const { config, preprocessing, classes } = card;
    const given = Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, JSON.parse(text)]));
    expect(given).toEqual({ config, preprocessing, classes, step: 8 });
  });

  test("has the weights of the checkpoint, also in another type and place", async () => {
    await exported("--to", "safetensors", "--precision", "float32", "--out", "a/b.safetensors");
    const { stored } = await readStored(join(cwd, "a/b.safetensors"));
    expect([...stored.values()].every(({ code }) => code === "F32")).toBe(true);
    const { model, card } = await loadModel(join(cwd, checkpoint), { device, precision: "float32" });
    const again = models.create(card.config!, { device, seed: 1 });
    await loadTorchWeights(again, join(cwd, "a/b.safetensors"));
    expect(await stateOf(again)).toEqual(await stateOf(model));
    const { pixels } = tinyImages(testItems, 5);
    const shape = card.preprocessing!.shape;
    const outputs = await again.predict(pixels.slice(0, 64), { shape, prepare: (raw) => raw.cast("float32") });
    expect(outputs.shape).toEqual([1, classCount]);
  });

  test("is about a third of a checkpoint of AdamW in float32", async () => {
    await trainText();
    await run(["export", "--checkpoint", "text", "--to", "safetensors", "--out", "text.safetensors"], { cwd });
    const [whole, part] = ["text/checkpoints/step-2.safetensors", "text.safetensors"].map(
      (name) => statSync(join(cwd, name)).size,
    );
    expect(part! / whole!).toBeCloseTo(1 / 3, 2);
    const { stored } = await readStored(join(cwd, "text.safetensors"));
    expect([...stored.keys()]).toContain("model.layers.3.mlp.gate_proj.weight");
  });

  test("keeps an existing file if the checkpoint is damaged", async () => {
    writeFileSync(join(cwd, "kept.safetensors"), "before");
    writeFileSync(join(cwd, "broken.safetensors"), "broken");
    const args = ["export", "--checkpoint", "broken.safetensors", "--to", "safetensors", "--out", "kept.safetensors"];
    expect((await run(args, { cwd })).code).toBe(1);
    expect(statSync(join(cwd, "kept.safetensors")).size).toBe(6);
    expect(existsSync(join(cwd, "none.safetensors"))).toBe(false);
  });
});

describe("export --to onnx", () => {
  const { pixels } = tinyImages(testItems, 5);
  const items = 5;
  const raw = pixels.slice(0, items * side * side);

  async function outputsOf(path: string, input: OnnxTensor): Promise<Float32Array> {
    const session = await InferenceSession.create(join(cwd, path));
    const { output } = await session.run({ input });
    return output!.data as Float32Array;
  }

  /** Both compute in float32, in other orders. */
  function expectClose(found: Float32Array, expected: Float32Array): void {
    expect(found).toHaveLength(expected.length);
    found.forEach((value, i) => {
      expect(Math.abs(value - expected[i]!), `output ${i}`).toBeLessThan(1e-4);
    });
  }

  test("has the outputs of the model in float32, from raw bytes and from preprocessed images", async () => {
    // The model was trained in bf16.
    const { model, prepare, card } = await loadModel(join(cwd, checkpoint), { device, precision: "float32" });
    const shape = card.preprocessing!.shape;
    const { data } = await model.predict(raw, { shape, prepare });
    const { result } = await exported("--to", "onnx", "--with-preprocessing");
    expect(result).toMatchObject({ to: "onnx", out: "model.onnx", bytes: statSync(join(cwd, "model.onnx")).size });
    expectClose(await outputsOf("model.onnx", new OnnxTensor("uint8", raw, [items, ...shape])), data);
    await exported("--to", "onnx", "--out", "plain.onnx");
    const images = await prepare(tensor(device, raw, [items, ...shape])).read();
    expectClose(await outputsOf("plain.onnx", new OnnxTensor("float32", images, [items, ...shape])), data);
  });

  test("has the classes in its metadata", async () => {
    await exported("--to", "onnx", "--out", "named.onnx");
    expect(readFileSync(join(cwd, "named.onnx"), "latin1")).toContain('["0","1","2"]');
  });

  test("of a text model takes ids of the context's length", async () => {
    await trainText();
    const args = ["export", "--checkpoint", "text", "--to", "onnx", "--out", "text.onnx"];
    const { code, stderr } = await run(args, { cwd });
    expect(code, stderr).toBe(0);
    const { model } = await loadModel(join(cwd, "text/checkpoints/step-2.safetensors"), { device });
    const ids = Int32Array.from({ length: 2 * 8 }, (_, i) => (i * 37) % 257);
    const { data } = await model.predict(ids, { shape: [8] });
    expectClose(await outputsOf("text.onnx", new OnnxTensor("int32", ids, [2, 8])), data);
    const wrong = await run([...args, "--with-preprocessing"], { cwd });
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain("--with-preprocessing: expected only for images");
  });
});
