// Flips single bits of files that stepsize wrote, and counts those that are detected when the file is loaded.
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromArrays } from "#lib/data/index.js";
import * as models from "#lib/models/index.js";
import { type Device, openDevice } from "#lib/native/index.js";
import { crossEntropy, type Module } from "#lib/nn/index.js";
import { AdamW } from "#lib/optim/index.js";
import { Trainer } from "#lib/train/index.js";
import { loadTorchState, loadTorchWeights, saveTorchState, saveTorchWeights } from "#lib/weights/index.js";
import type { Damage } from "./damage.js";

interface Subject {
  readonly name: string;
  readonly path: string;
  readonly load: () => Promise<unknown>;
}

/** The bits to flip, counted over all files of the subjects, from bit `from` to before `to`. */
export interface BitRange {
  /** Default 0. */
  readonly from?: number;
  /** Default: the end of the last file. */
  readonly to?: number;
  /** Distance between flipped bits. Default 1. */
  readonly step?: number;
}

/**
 * Flips single bits of a checkpoint, of weights and of an optimizer's state for PyTorch, in headers and data, and loads
 * the file each time. A fault is lost if the file loads, or if the error is not a file error with the file's name.
 */
export async function injectBitFlips({ from = 0, to, step = 1 }: BitRange = {}): Promise<Damage> {
  return await withSubjects(async (subjects) => {
    const tally = new Tally();
    let first = 0;
    for (const { name, path, load } of subjects) {
      const whole = readFileSync(path);
      const bits = whole.length * 8;
      const file = openSync(path, "r+");
      const put = (at: number, value: number) => writeSync(file, Uint8Array.of(value), 0, 1, at);
      for (let bit = from; bit < Math.min(to ?? Number.POSITIVE_INFINITY, first + bits); bit += step) {
        if (bit < first) continue;
        const [at, flip] = [(bit - first) >> 3, 1 << ((bit - first) & 7)];
        put(at, (whole[at] as number) ^ flip);
        await tally.add(`${name}, bit ${(bit - first) & 7} of byte ${at}`, path, load);
        put(at, whole[at] as number);
      }
      closeSync(file);
      first += bits;
      await load();
    }
    return tally.damage;
  });
}

/** Cuts the files at every `step`-th length, and loads them. */
export async function injectTruncations({ step = 1 }: { readonly step?: number } = {}): Promise<Damage> {
  return await withSubjects(async (subjects) => {
    const tally = new Tally();
    for (const { name, path, load } of subjects) {
      const whole = readFileSync(path);
      for (let length = 0; length < whole.length; length += step) {
        writeFileSync(path, whole.subarray(0, length));
        await tally.add(`${name}, cut to ${length} bytes`, path, load);
      }
      writeFileSync(path, whole);
      await load();
    }
    return tally.damage;
  });
}

class Tally {
  #injected = 0;
  readonly #lost: string[] = [];

  /** Loads a damaged file. */
  async add(what: string, path: string, load: () => Promise<unknown>): Promise<void> {
    this.#injected++;
    const error = await load().then(
      () => undefined,
      (thrown: unknown) => thrown as { name?: string; code?: string; message?: string },
    );
    const isNoticed =
      error?.name === "StepsizeError" && error.code === "invalid-file" && error.message?.startsWith(path) === true;
    if (!isNoticed) this.#lost.push(`${what}: ${error === undefined ? "loaded" : String(error)}`);
  }

  get damage(): Damage {
    return { injected: this.#injected, lost: this.#lost };
  }
}

async function withSubjects<T>(use: (subjects: readonly Subject[]) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "stepsize-flips-"));
  const device = await openDevice("cpu", { threads: 1 });
  try {
    return await use(await subjectsIn(folder, device));
  } finally {
    await device.close();
    rmSync(folder, { recursive: true });
  }
}

async function subjectsIn(folder: string, device: Device): Promise<Subject[]> {
  const { trainer, model, optimizer } = trainerOn(device, 0);
  for await (const _ of trainer.run({ until: 3 }));
  const at = (name: string) => join(folder, `${name}.safetensors`);
  await trainer.save(at("checkpoint"));
  await saveTorchWeights(model, at("weights"));
  await saveTorchState(optimizer, at("state"));
  const other = trainerOn(device, 1);
  const before = await bitsOf(other.model);
  return [
    {
      name: "a checkpoint",
      path: at("checkpoint"),
      load: async () => {
        const fresh = other.trainer.step === 0;
        try {
          await other.trainer.load(at("checkpoint"));
        } catch (error) {
          // A refused file must not change the trainer.
          if (fresh && ((await bitsOf(other.model)) !== before || other.trainer.step !== 0))
            throw new Error("the trainer was changed by a file that was refused", { cause: error });
          throw error;
        }
      },
    },
    { name: "weights for PyTorch", path: at("weights"), load: () => loadTorchWeights(other.model, at("weights")) },
    { name: "state for PyTorch", path: at("state"), load: () => loadTorchState(other.optimizer, at("state")) },
  ];
}

async function bitsOf(model: Module): Promise<string> {
  const values = await Promise.all([...model.stateDict().values()].map((one) => one.read()));
  return values.map((one) => Buffer.from(one.buffer, one.byteOffset, one.byteLength).toString("base64")).join();
}

function trainerOn(device: Device, seed: number) {
  const model = models.mlp({ inputs: 3, hidden: [2], classes: 2, device, seed });
  const optimizer = new AdamW(model.parameters(), { lr: 0.01 });
  const set = fromArrays({
    inputs: Float32Array.from({ length: 24 }, (_, i) => Math.sin(i)),
    labels: Int32Array.from({ length: 8 }, (_, i) => i % 2),
    shape: [3],
  });
  const trainer = new Trainer({ model, optimizer, loss: crossEntropy, data: set.batches({ size: 4 }), budget: 6 });
  return { trainer, model, optimizer };
}
