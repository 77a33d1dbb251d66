// Exported models in a browser, with onnxruntime-web.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openDevice } from "#lib/native/index.js";
import { type Module, Preparation } from "#lib/nn/index.js";
import { exportOnnx, type OnnxOptions } from "#lib/onnx/index.js";
import type { Tensor } from "#lib/tensor/index.js";
import { chromiumPath, startedChromium, withoutChromium } from "../support/chromium.js";
import { temporaryFolders } from "../support/folders.js";
import { labelsOf } from "../support/numbers.js";
import { configs, type Data, inputsFor, makeModel, sizeOf, typeOf } from "./support/models.js";

const folder = temporaryFolders();
const device = await openDevice("cpu");
const browser = startedChromium();
const runtime = dirname(createRequire(import.meta.url).resolve("onnxruntime-web"));
const origin = "http://stepsize.test";

/** The page, which is given to the browser as it is. */
const html = `<!doctype html>
<title>onnxruntime-web</title>
<script type="module">
  import * as ort from "/ort.wasm.min.mjs";
  ort.env.wasm.numThreads = 1;
  const arrays = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array };
  globalThis.outputsOf = async ({ values, type, shape }) => {
    const response = await fetch("/model.onnx");
    const session = await ort.InferenceSession.create(new Uint8Array(await response.arrayBuffer()));
    const { output } = await session.run({ input: new ort.Tensor(type, arrays[type].from(values), shape) });
    return { values: [...output.data], dims: output.dims };
  };
</script>`;

describe.skipIf(chromiumPath === undefined)(`onnxruntime-web in Chromium${withoutChromium}`, () => {
  let page: Page;
  let model: Uint8Array;

  beforeAll(async () => {
    page = await browser().newPage();
    // Nothing listens at this address: the test answers what the page loads.
    await page.route(`${origin}/**`, async (route) => {
      const name = new URL(route.request().url()).pathname.slice(1);
      if (name === "") await route.fulfill({ body: html, contentType: "text/html" });
      else if (name === "model.onnx") await route.fulfill({ body: Buffer.from(model) });
      else
        await route.fulfill({
          path: join(runtime, name),
          contentType: name.endsWith(".wasm") ? "application/wasm" : "text/javascript",
        });
    });
    await page.goto(origin);
  });

  afterAll(() => device.close());

  /** Computes outputs in the page. */
  async function outputsInPage(data: Data, shape: readonly number[]) {
    const call = JSON.stringify({ values: [...data], type: typeOf(data), shape });
    return await page.evaluate<{ values: number[]; dims: number[] }>(`outputsOf(${call})`);
  }

  /** Both compute in float32, in other orders; outputs are about 1. */
  async function expectEqualOutputs(
    module: Module,
    options: OnnxOptions,
    { data, shape, prepare }: { data: Data; shape: readonly number[]; prepare?: (raw: Tensor) => Tensor },
  ): Promise<void> {
    const path = join(folder(), "model.onnx");
    await exportOnnx(module, path, options);
    model = readFileSync(path);
    const items = data.length / sizeOf(shape);
    const expected = await module.predict(data, { shape, prepare });
    const found = await outputsInPage(data, [items, ...shape]);
    expect(found.dims).toEqual(expected.shape);
    expect(found.values.some((value) => Math.abs(value) > 0.01)).toBe(true);
    expected.data.forEach((value, i) => {
      expect(Math.abs(value - found.values[i]!), `output ${i}`).toBeLessThan(1e-4);
    });
  }

  test.each(configs)("%s has the same outputs", async (_, config, shape) => {
    const dtype = config.kind === "olmo" ? "int32" : "float32";
    const data = inputsFor(config, shape);
    await expectEqualOutputs(makeModel(device, config, shape), { shape, dtype }, { data, shape });
  });

  test("with preprocessing, from raw bytes", async () => {
    const shape = [8, 8, 3];
    const preprocessing = { shape, dtype: "uint8", scale: 1 / 255, mean: [0.4, 0.5, 0.6], std: [0.2, 0.3, 0] } as const;
    const module = makeModel(device, { kind: "resnet", depth: 8, classes: 3, width: 4 }, shape);
    const preparation = new Preparation(module, preprocessing);
    const data = Uint8Array.from(labelsOf(5 * sizeOf(shape), 1, 256));
    await expectEqualOutputs(module, { preprocessing }, { data, shape, prepare: (raw) => preparation.apply(raw) });
  });
});
