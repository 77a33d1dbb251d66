import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { openDevice } from "#lib/native/index.js";
import { loadModel } from "#lib/weights/index.js";
import { run } from "../cli/support/cli.js";
import { exampleFolder, examplesIn, root } from "./support/examples.js";

const page = readFileSync(join(root, "docs/export.md"), "utf8");
const [predictions, onnxRuntime, customModule, ...moreTypeScript] = examplesIn(page);
const [torchModel, ...morePython] = [...page.matchAll(/```python\n([\s\S]*?)```/g)].map(([, text]) => text!);

const python = ["python3", "/usr/bin/python3"].find(
  (program) => spawnSync(program, ["-c", "import torch, safetensors.torch"]).status === 0,
);

describe("docs/export.md", () => {
  const { path, output } = exampleFolder();
  const checkpoint = "runs/1/checkpoints/step-40.safetensors";

  beforeAll(async () => {
    mkdirSync(path(), { recursive: true });
    // The model of `npm start`, for fewer steps.
    const train = ["train", "--model", "resnet8", "--data", "mnist", "--budget", "40", "--batch", "32"];
    const { code, stderr } = await run([...train, "--run", "runs/1"], { cwd: path() });
    expect(code, stderr).toBe(0);
  });

  test("has exactly these blocks", () => {
    expect([predictions, onnxRuntime, customModule, torchModel].every((block) => block !== undefined)).toBe(true);
    expect([...moreTypeScript, ...morePython]).toEqual([]);
  });

  test("the prediction of a model of the command line is right", () => {
    // The page has the number of steps of `npm start`.
    expect(output(predictions!.replace("step-600", "step-40"))).toBe("7, and the label is 7\n");
  });

  test("ONNX Runtime has the same prediction", async () => {
    const args = ["export", "--checkpoint", "runs/1", "--to", "onnx", "--with-preprocessing"];
    const { code, stderr } = await run(args, { cwd: path() });
    expect(code, stderr).toBe(0);
    expect(output(onnxRuntime!)).toBe("7\n");
  });

  test("a custom module is exported", () => {
    output(customModule!);
    expect(existsSync(join(path(), "gated.onnx"))).toBe(true);
  });

  test.skipIf(!python)(
    `PyTorch loads the weights and has the same outputs${python ? "" : " (skipped: python3 has no torch and safetensors)"}`,
    async () => {
      const exported = await run(["export", "--checkpoint", "runs/1", "--to", "safetensors"], { cwd: path() });
      expect(exported.code, exported.stderr).toBe(0);
      writeFileSync(join(path(), "model.py"), torchModel!);
      const { status, stdout, stderr } = spawnSync(python!, ["model.py"], { cwd: path(), encoding: "utf8" });
      expect(status, stderr).toBe(0);
      const device = await openDevice("cpu");
      const { model, prepare } = await loadModel(join(path(), checkpoint), { device });
      const raw = Uint8Array.from({ length: 28 * 28 }, (_, i) => i % 256);
      const { data } = await model.predict(raw, { shape: [28, 28, 1], prepare });
      const logits = JSON.parse(stdout) as number[];
      expect(logits).toHaveLength(10);
      // Both compute in float32, in other orders. The logits are about 10.
      logits.forEach((value, i) => {
        expect(Math.abs(value - data[i]!)).toBeLessThan(1e-4);
      });
      await device.close();
    },
  );
});
