// Runs that start from given weights.
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { readCheckpoint } from "#lib/weights/index.js";
import { golden } from "../models/support/resnets.js";
import { temporaryFolders } from "../support/folders.js";
import { numbers } from "../support/numbers.js";
import { float32, writeStored } from "../weights/support/stored.js";
import { metricsOf, run } from "./support/cli.js";
import { classCount, tinyData, trainTiny } from "./support/tiny-data.js";

const folder = temporaryFolders();
const cwd = folder();
const data = tinyData(folder());

/** A run of one step that is too small to change a weight. */
const still = (...more: string[]) =>
  trainTiny(data, "--budget", "1", "--optimizer", "sgd", "--warmup", "0", "--max-lr", "1e-30", ...more);

/** The weights that a run ends with. */
async function weightsOf(name: string) {
  const { model } = await readCheckpoint(join(cwd, name, "checkpoints/step-1.safetensors"));
  return (tensor: string) => model.get(tensor)?.data;
}

beforeAll(async () => {
  const { code, stderr } = await run([...trainTiny(data, "--budget", "1", "--seed", "3"), "--run", "first"], { cwd });
  expect(code, stderr).toBe(0);
});

test("the weights of a checkpoint are those of the first step, and the configuration has their path", async () => {
  const weights = "first/checkpoints/step-1.safetensors";
  const { code, stderr } = await run([...still("--weights", weights), "--run", "second"], { cwd });
  expect(code, stderr).toBe(0);
  expect(stderr).toContain(`starting from ${join(cwd, weights)}\n`);
  const [first, second] = [await weightsOf("first"), await weightsOf("second")];
  for (const name of ["layers.0.weight", "layers.2.bias"]) expect(second(name)).toEqual(first(name));
  expect(JSON.parse(readFileSync(join(cwd, "second/config.json"), "utf8")).weights).toBe(join(cwd, weights));
});

/** A ResNet-8 for ten classes of gray images in PyTorch's names: the first blocks of ResNet-20's stages. */
function torchFile(): { path: string; shortcut: Float32Array } {
  const { tensors } = golden.networks.find(({ name }) => name === "resnet20")!;
  const kept = tensors.filter(([name]) => !/^layer\d\.[12]\./.test(name));
  const stored = kept.map(([name, shape], k) => {
    const storedShape = name === "conv1.weight" ? [16, 1, 3, 3] : shape;
    const size = storedShape.reduce((product, length) => product * length, 1);
    // Variances are not negative.
    return [name, float32(storedShape, numbers(size, k, name.endsWith("running_var") ? 2 : 0))] as const;
  });
  const tensorsByName = new Map(stored);
  const path = writeStored(join(folder(), "torch.safetensors"), tensorsByName);
  return { path, shortcut: tensorsByName.get("layer2.0.downsample.0.weight")!.data as Float32Array };
}

test("PyTorch's weights for other classes get a new classifier on request", async () => {
  const { path, shortcut } = torchFile();
  const resnet = (...more: string[]) => still("--model", "resnet8", "--weights", path, ...more);
  const refused = await run([...resnet(), "--run", "refused"], { cwd });
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain(`${path}: the weights do not fit the model: of another shape: fc.weight is [10,64]`);
  expect(refused.stderr).toContain('leave it out with classifier: "skip"');
  expect(existsSync(join(cwd, "refused"))).toBe(false);

  const { code, stderr } = await run([...resnet("--classifier", "skip"), "--run", "skipped"], { cwd });
  expect(code, stderr).toBe(0);
  expect(stderr).toContain(`starting from ${path}, with a new classifier`);
  const weights = await weightsOf("skipped");
  expect(weights("classifier.weight")?.length).toBe(64 * classCount);
  expect(weights("blocks.1.shortcut.weight")).toEqual(shortcut);
});

test("a missing file ends the command before a folder is created", async () => {
  const { code, stderr } = await run([...still("--weights", "none.safetensors"), "--run", "nothing"], { cwd });
  expect(code).toBe(1);
  expect(stderr).toContain(`${join(cwd, "none.safetensors")}: there is no such file`);
  expect(existsSync(join(cwd, "nothing"))).toBe(false);
});

test("a resumed run needs the weights only if it has no checkpoint", async () => {
  const { path } = torchFile();
  const weights = ["--model", "resnet8", "--weights", path, "--classifier", "skip"];
  expect((await run([...still(...weights), "--run", "again"], { cwd })).code).toBe(0);
  const loss = metricsOf(join(cwd, "again"))[0]!.loss;
  rmSync(join(cwd, "again/checkpoints"), { recursive: true });
  const anew = await run(["train", "--resume", "again"], { cwd });
  expect(anew.stderr).toContain(`starting from ${path}`);
  expect(metricsOf(join(cwd, "again"))[0]!.loss).toBe(loss);
  rmSync(path);
  const { code, stderr } = await run(["train", "--resume", "again"], { cwd });
  expect(code, stderr).toBe(0);
  expect(stderr).not.toContain("starting from");
});
