// Training that moves from PyTorch to stepsize and back: names, shapes, order of axes and numbers of steps.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { type Device, openDevice } from "#lib/native/index.js";
import {
  loadTorchState,
  loadTorchWeights,
  saveTorchState,
  saveTorchWeights,
  toTorchWeights,
} from "#lib/weights/index.js";
import { relativeError } from "../optim/support/runs.js";
import { onEveryDevice, physicalDevices } from "../support/devices.js";
import { temporaryFolders } from "../support/folders.js";
import { readStored, type StoredBytes } from "./support/read-stored.js";
import { golden, make, saved, train, writeFiles } from "./support/round-trip.js";

const folder = temporaryFolders();
const runs = Object.keys(golden.runs);
const steps = 20;

/** The model and optimizer of a run as PyTorch saved them. */
async function begun(run: string, device: Device, { weights, state } = writeFiles(run, folder())) {
  const one = make(run, device);
  await loadTorchWeights(one.model, weights);
  // PyTorch's SGD does not count its steps.
  await loadTorchState(one.optimizer, state, run.endsWith("sgd") ? { steps: golden.before } : {});
  return one;
}

/** All values of the tensors, concatenated in the order of the names. */
const joined = async (tensors: ReadonlyMap<string, { read(): Promise<ArrayLike<number>> }>, names: readonly string[]) =>
  (await Promise.all(names.map(async (name) => Array.from(await tensors.get(name)!.read())))).flat();

await onEveryDevice("a run of PyTorch continues", (device) => {
  // Float32 compared with float64 from the same numbers. The largest observed errors are 9e-6 for losses and 2e-6 for
  // weights, both of the deepest network with batch norm. Moments in the wrong order of axes change its losses by 1e-3
  // and more.
  test.each(runs)("%s: with the same losses and weights for 20 steps", async (run) => {
    const { losses: expected, weights } = golden.runs[run]!;
    const one = await begun(run, device);
    expect(one.optimizer.iteration).toBe(golden.before);
    const losses = await train(run, one, device, golden.before, steps);
    expect(Math.max(...losses.map((loss, i) => Math.abs(loss / expected[i]! - 1)))).toBeLessThan(2e-5);
    const names = Object.keys(weights);
    const torch = await toTorchWeights(one.model);
    expect([...torch.keys()].sort()).toEqual([...names].sort());
    expect(relativeError(await joined(torch, names), Object.values(weights).flat())).toBeLessThan(2e-5);
  });
});

await onEveryDevice(
  "saving what was loaded",
  (device) => {
    /** Without the counters of batches, which the models here do not have. */
    const kept = (tensors: ReadonlyMap<string, StoredBytes>) =>
      new Map(
        [...tensors].filter(([name]) => !name.endsWith("num_batches_tracked")).sort(([a], [b]) => (a < b ? -1 : 1)),
      );

    test.each(runs)("%s: keeps names, shapes, types and bits", async (run) => {
      const one = await begun(run, device);
      const [weights, state] = ["weights", "state"].map((part) => join(folder(), part)) as [string, string];
      const before = device.memory().tensors;
      await saveTorchWeights(one.model, weights);
      await saveTorchState(one.optimizer, state);
      // The collector may have freed what earlier tests left.
      expect(device.memory().tensors).toBeLessThanOrEqual(before);
      const of = (tensors: ReadonlyMap<string, StoredBytes>) =>
        [...kept(tensors)].map(([name, { code, shape, bytes }]) => [
          name,
          code,
          shape,
          Buffer.from(bytes).toString("hex"),
        ]);
      for (const [path, part] of [
        [weights, "weights"],
        [state, "state"],
      ] as const) {
        const { stored, metadata } = await readStored(path);
        expect(of(stored)).toEqual(of(saved(run, part)));
        expect(metadata).toEqual({ format: "pt" });
      }
    });
  },
  physicalDevices,
);

const python = (...args: string[]) => {
  const root = fileURLToPath(new URL("../..", import.meta.url));
  return spawnSync("python3", args, { cwd: root, encoding: "utf8", maxBuffer: 2 ** 26 });
};
const installed = python("-c", "import torch, safetensors").status === 0;

test.skipIf(!installed)(
  `PyTorch continues where stepsize stopped${installed ? "" : " (skipped: python3 has no torch and safetensors)"}`,
  async () => {
    const script = "test/golden/round_trip.py";
    const path = folder();
    expect(python(script, "begin", path)).toMatchObject({ status: 0 });
    const device = await openDevice("cpu");
    for (const run of runs) {
      const files = {
        weights: join(path, `${run}.weights.safetensors`),
        state: join(path, `${run}.state.safetensors`),
      };
      const one = await begun(run, device, files);
      await train(run, one, device, golden.before, steps);
      await saveTorchWeights(one.model, files.weights);
      await saveTorchState(one.optimizer, files.state);
    }
    await device.close();
    const { status, stderr } = python(script, "end", path);
    expect(status, stderr).toBe(0);
    const errors = JSON.parse(readFileSync(join(path, "errors.json"), "utf8")) as Record<
      string,
      { loss: number; weights: number }
    >;
    expect(Object.keys(errors)).toEqual(runs);
    for (const [run, { loss, weights }] of Object.entries(errors)) {
      // Forty steps in float32 compared with float64.
      expect(loss, run).toBeLessThan(1e-4);
      expect(weights, run).toBeLessThan(1e-4);
    }
  },
);
