// Files above 2 GiB, which Node cannot read at once. They are mostly holes, so that they take no space on the disk.
// test/faults/large-checkpoint.ts writes and reads real ones.
import { closeSync, existsSync, ftruncateSync, openSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { fromArrays } from "#lib/data/index.js";
import { withStored } from "#lib/files/safetensors-file.js";
import type { Device } from "#lib/native/index.js";
import * as nn from "#lib/nn/index.js";
import { AdamW } from "#lib/optim/index.js";
import { fill, type Tensor } from "#lib/tensor/index.js";
import { Trainer } from "#lib/train/index.js";
import { loadTorchWeights, readSafetensors, saveTorchWeights } from "#lib/weights/index.js";
import { bits } from "../support/compare.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import { library, run } from "../train/support/children.js";
import { device } from "../train/support/runs.js";

const folder = temporaryFolders();
const large = 5 * 2 ** 30;

/** A tensor in the header, with values unless it is a hole. */
interface Entry {
  readonly shape: readonly number[];
  readonly values?: Float32Array;
}

/** Writes a file of float32 tensors in which only some have values. */
function sparseFile(entries: Readonly<Record<string, Entry>>, metadata: Readonly<Record<string, string>> = {}): string {
  const path = join(folder(), "sparse.safetensors");
  let end = 0;
  const placed = Object.entries(entries).map(([name, entry]) => {
    const from = end;
    end += entry.shape.reduce((product, size) => product * size, 4);
    return { name, ...entry, from, to: end };
  });
  const header = placed.map(({ name, shape, from, to }) => [name, { dtype: "F32", shape, data_offsets: [from, to] }]);
  const json = Buffer.from(JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(header) }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const file = openSync(path, "w");
  writeSync(file, Buffer.concat([length, json]));
  for (const { from, values } of placed)
    if (values) writeSync(file, values, 0, values.byteLength, 8 + json.length + from);
  ftruncateSync(file, 8 + json.length + end);
  closeSync(file);
  return path;
}

const values = Float32Array.from({ length: 12 }, (_, i) => Math.sin(i));

describe("a file of 5 GiB", () => {
  test("allows reading one tensor at its end without the rest", async () => {
    const path = sparseFile({ "a.hole": { shape: [large / 4] }, last: { shape: [3, 4], values } });
    expect(statSync(path).size).toBeGreaterThan(large);
    const [name, shape, bytes] = await withStored(path, async ({ tensors }) => {
      const last = tensors.get("last")!;
      return [last.name, last.shape, await last.read()] as const;
    });
    expect([name, shape]).toEqual(["last", [3, 4]]);
    expect(new Float32Array(bytes.buffer)).toEqual(values);
  });

  test("loads weights into a model with memory for only a few blocks", async () => {
    const path = sparseFile({
      "optimizer.layers.0.weight.expAvg": { shape: [large / 8] },
      "optimizer.layers.0.weight.expAvgSq": { shape: [large / 8] },
      "model.layers.0.weight": { shape: [3, 4], values },
      "model.layers.0.bias": { shape: [3], values: values.subarray(0, 3) },
    });
    const program = `import { loadWeights, models, openDevice } from ${library};
      const device = await openDevice("cpu", { threads: 1 });
      const model = models.mlp({ inputs: 4, hidden: [], classes: 3, device });
      await loadWeights(model, ${JSON.stringify(path)});
      const read = async (name) => Array.from(await model.stateDict().get(name).read());
      const kilobytes = process.resourceUsage().maxRSS;
      console.log(JSON.stringify([await read("layers.0.weight"), await read("layers.0.bias"), kilobytes]));`;
    const [weight, bias, kilobytes] = (await run(folder(), program)) as [number[], number[], number];
    expect(weight).toEqual([...values]);
    expect(bias).toEqual([...values.subarray(0, 3)]);
    // Node itself and the library take about 100 MB.
    expect(kilobytes).toBeLessThan(400_000);
  });

  test("with a tensor larger than all memory is refused, and the process continues", async () => {
    const path = sparseFile({ huge: { shape: [2 ** 40 / 4] } });
    const program = `import { readSafetensors } from ${library};
      const outcome = await readSafetensors(${JSON.stringify(path)}).then(() => "read", ({ code, message }) => ({ code, message }));
      console.log(JSON.stringify(outcome));`;
    const outcome = (await run(folder(), program)) as { code: string; message: string };
    expect(outcome).toMatchObject({ code: "out-of-memory" });
    expect(outcome.message).toContain(`${path}: huge`);
  });
});

const counted = (length: number) => {
  const numbers = new Float32Array(length);
  for (let i = 0; i < length; i++) numbers[i] = i;
  return numbers;
};

test("a tensor of several blocks is read in order, for any length", async () => {
  // One block holds 2^22 of these numbers.
  for (const length of [2 ** 22 - 1, 2 ** 22, 2 ** 22 + 1, 2 ** 23 + 5]) {
    const many = counted(length);
    const first = { shape: [3], values: values.subarray(0, 3) };
    const { tensors } = await readSafetensors(sparseFile({ first, many: { shape: [length], values: many } }));
    expect(Buffer.from(tensors.get("many")!.data.buffer).equals(Buffer.from(many.buffer))).toBe(true);
  }
});

describe("a state of several blocks", () => {
  // The model has 2^22 + 4096 weights.
  const modelOn = (on: Device, precision: nn.Precision = "float32") => {
    const place = { device: on, seeds: 1, bias: false };
    return new nn.Sequential(new nn.Linear(2050, 2048, place)).setPrecision(precision);
  };
  const blank = (model: nn.Module) => {
    for (const one of model.stateDict().values()) fill(one, 0);
  };
  const bitsOf = async (one: Tensor) => bits(await one.read());

  test.each(["float32", "bf16"] as const)("is saved and loaded with the same bits (%s)", async (precision) => {
    const on = await device();
    const make = () => {
      const model = modelOn(on, precision);
      const optimizer = new AdamW(model.parameters(), { lr: 0.01 });
      const data = fromArrays({ inputs: counted(2050), labels: Int32Array.of(3), shape: [2050] }).batches({ size: 1 });
      return { model, optimizer, trainer: new Trainer({ model, optimizer, loss: nn.crossEntropy, data, budget: 3 }) };
    };
    const run = make();
    for await (const _ of run.trainer.run({ until: 2 }));
    const path = join(folder(), "state.safetensors");
    await run.trainer.save(path);
    const other = make();
    blank(other.model);
    await other.trainer.load(path);
    expect(other.trainer.step).toBe(2);
    for (const part of ["model", "optimizer"] as const) {
      const [before, after] = [run[part].stateDict(), other[part].stateDict()];
      expect([...after.keys()]).toEqual([...before.keys()]);
      for (const [name, one] of before)
        expect((await bitsOf(one)).equals(await bitsOf(after.get(name)!)), name).toBe(true);
    }
    const weights = join(folder(), "weights.safetensors");
    await saveTorchWeights(run.model, weights);
    const fresh = modelOn(on, precision);
    blank(fresh);
    await loadTorchWeights(fresh, weights);
    for (const [name, one] of run.model.stateDict())
      expect((await bitsOf(one)).equals(await bitsOf(fresh.stateDict().get(name)!)), name).toBe(true);
  });

  test("is not written if it changes meanwhile", async () => {
    const on = await device();
    const model = modelOn(on);
    const path = join(folder(), "weights.safetensors");
    const saving = saveTorchWeights(model, path);
    const [weight] = model.parameters();
    weight!.write(counted(weight!.size));
    await expectError(() => saving, "invalid-state", "0.weight", "changed while it was being written");
    expect(existsSync(path)).toBe(false);
  });
});
