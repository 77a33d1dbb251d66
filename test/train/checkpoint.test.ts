import { once } from "node:events";
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as models from "#lib/models/index.js";
import * as nn from "#lib/nn/index.js";
import { Adam, AdamW, SGD } from "#lib/optim/index.js";
import * as schedule from "#lib/schedule/index.js";
import { readCheckpoint, readSafetensors, writeSafetensors } from "#lib/weights/index.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import { library, run, start } from "./support/children.js";
import { budget, type Change, card, device, endOf, images, plainMLP, recordsOf, runOf } from "./support/runs.js";

const folder = temporaryFolders();
const on = await device();
const lr = schedule.uba({ budget, maxLr: 0.02, warmup: 2 });

function make(change: Change = {}) {
  const { batches, ...options } = change;
  const model = options.model ?? plainMLP(on);
  return runOf({
    model,
    optimizer: new AdamW(model.parameters(), { lr }),
    loss: nn.crossEntropy,
    data: images.batches({ size: 16, ...batches }),
    card,
    ...options,
  });
}

/** Saves a checkpoint after 6 steps. */
async function saved(): Promise<string> {
  const { trainer } = make({ budget: 6 });
  await recordsOf(trainer);
  const path = join(folder(), "checkpoint.safetensors");
  await trainer.save(path);
  return path;
}

const good = await saved();

/** Expects loading to be refused with this error and to change nothing. */
async function expectRefused(path: string, code: string, words: readonly string[], change: Change = {}) {
  const other = make(change);
  const before = await endOf(other);
  await expectError(() => other.trainer.load(path), code, ...words);
  expect(other.trainer.step).toBe(0);
  expect(other.optimizer.iteration).toBe(0);
  expect(await endOf(other)).toEqual(before);
}

/** Writes the file with changed bytes into a separate folder. */
function changed(change: (bytes: Buffer) => Buffer): string {
  const path = join(folder(), "changed.safetensors");
  writeFileSync(path, change(readFileSync(good)));
  return path;
}

describe("a checkpoint", () => {
  it("is one safetensors file with its JSON in the metadata", async () => {
    const { tensors, metadata } = await readSafetensors(good);
    expect(Object.keys(metadata)).toEqual(["stepsize"]);
    expect(JSON.parse(metadata["stepsize"] as string)).toMatchObject({
      format: "stepsize-checkpoint-1",
      step: 6,
      run: {
        schedule: { name: "uba", budget },
        data: { dataset: "bands", size: 16, seed: 0 },
        accumulate: 1,
        optimizer: "AdamW",
        rule: "adam",
      },
      ...card,
    });
    expect([...tensors.keys()].sort().slice(0, 4)).toEqual([
      "model.layers.0.bias",
      "model.layers.0.weight",
      "model.layers.1.bias",
      "model.layers.1.weight",
    ]);
    expect(tensors.get("optimizer.layers.0.weight.expAvgSq")?.shape).toEqual([16, 144]);
    expect((await readCheckpoint(good)).info.step).toBe(6);
  });

  it("contains the values of the model", async () => {
    const { trainer, model } = make();
    await trainer.load(good);
    const { model: weights } = await readCheckpoint(good);
    for (const [name, one] of model.stateDict()) expect(await one.read()).toEqual(weights.get(name)?.data);
  });
});

describe("a damaged file is refused and changes nothing", () => {
  it("if it is cut at a boundary of its header or anywhere else", async () => {
    const { length } = readFileSync(good);
    const header = Number(readFileSync(good).readBigUInt64LE(0));
    const path = join(folder(), "cut.safetensors");
    const whole = readFileSync(good);
    for (const at of [0, 1, 7, 8, 9, 8 + header - 1, 8 + header, 8 + header + 1, length - 1]) {
      writeFileSync(path, whole.subarray(0, at));
      await expectRefused(path, "invalid-file", [path, "byte"]);
    }
    const { trainer } = make();
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: length - 1 }), async (at) => {
        writeFileSync(path, whole.subarray(0, at));
        await expectError(() => trainer.load(path), "invalid-file", path, "byte");
      }),
      { numRuns: 100 },
    );
  });

  it.each([
    {
      what: "its first bytes",
      from: (bytes: Buffer) => Buffer.concat([Buffer.from("PK\x03\x04\x05\x06\x07\x08"), bytes.subarray(8)]),
      words: ["byte 0"],
    },
    {
      what: "the name of its format",
      from: (bytes: Buffer) => replaced(unsealed(bytes), "stepsize-checkpoint-1", "stepsize-checkpoint-9"),
      words: ["stepsize-checkpoint-1", "not a checkpoint of this version"],
    },
    {
      what: "its step",
      from: (bytes: Buffer) => replaced(unsealed(bytes), '\\"step\\":6', '\\"step\\":x'),
      words: ["stepsize-checkpoint-1"],
    },
    {
      what: "its run",
      from: (bytes: Buffer) => replaced(unsealed(bytes), '\\"run\\":', '\\"ran\\":'),
      words: ["stepsize", "run: expected an object"],
    },
    {
      what: "the name of a tensor",
      from: (bytes: Buffer) => replaced(unsealed(bytes), '"model.layers.0.bias":{', '"model.layers.0.bios":{'),
      words: ["layers.0.bias is missing", "layers.0.bios is not part"],
    },
    {
      what: "the name of a moment",
      from: (bytes: Buffer) => replaced(unsealed(bytes), 'layers.0.bias.expAvg"', 'layers.0.bias.expAvh"'),
      words: ["layers.0.bias.expAvg"],
    },
  ])("if $what changed", async ({ from, words }) => {
    await expectRefused(changed(from), "invalid-file", words);
  });

  it("if its checksums do not match, which is checked first", async () => {
    const words = ["is damaged", "stepsize.crc32", "load another"];
    await expectRefused(
      changed((bytes) => replaced(bytes, '\\"step\\":6', '\\"step\\":7')),
      "invalid-file",
      ["the header", ...words],
    );
    const flipped = changed((bytes) => {
      bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
      return bytes;
    });
    await expectRefused(flipped, "invalid-file", ["the values of", "CRC-32", ...words]);
  });

  it("if it has no checksums and its step differs from that of its state", async () => {
    const other = changed((bytes) => replaced(unsealed(bytes), '\\"iteration\\":6', '\\"iteration\\":7'));
    await expectRefused(other, "invalid-file", [other, "is damaged", "says 7 steps", "state in it 6"]);
    // A file of an earlier version, which did not repeat the state's step.
    const earlier = (step: number) =>
      changed((bytes) => {
        const old = replaced(unsealed(bytes), '\\"iteration\\":6', '\\"iteratiom\\":6');
        return replaced(old, '\\"step\\":6', `\\"step\\":${step}`);
      });
    await expectRefused(earlier(7), "invalid-file", ["says 7 steps", "state in it 6"]);
    const { trainer } = make();
    await trainer.load(earlier(6));
    expect(trainer.step).toBe(6);
  });

  it("and a trainer whose file is damaged during loading must load another one", async () => {
    const path = changed((bytes) => bytes);
    const { trainer, optimizer } = make();
    const fillState = optimizer.fillState.bind(optimizer);
    optimizer.fillState = (...given) => {
      // The file is cut after it was checked and the weights were loaded.
      truncateSync(path, 8 + Number(readFileSync(path).readBigUInt64LE(0)));
      return fillState(...given);
    };
    const words = [path, "was loaded in part", "cut short"];
    await expectError(() => trainer.load(path), "invalid-file", ...words);
    await expectError(() => trainer.save(join(folder(), "no")), "invalid-file", "save: nothing was written", ...words);
    await expectError(() => recordsOf(trainer), "invalid-file", "run", ...words);
    optimizer.fillState = fillState;
    await trainer.load(good);
    expect(await recordsOf(trainer)).toHaveLength(budget - 6);
  });

  it("if it is another kind of file", async () => {
    const text = join(folder(), "notes.txt");
    writeFileSync(text, "step,loss\n0,2.3\n");
    await expectRefused(text, "invalid-file", [text, "byte 0"]);
    const others = join(folder(), "others.safetensors");
    await writeSafetensors(others, new Map(), { format: "pt" });
    await expectRefused(others, "invalid-file", [others, "not a checkpoint", "none"]);
  });

  it("if it is missing or a folder", async () => {
    const missing = join(folder(), "none.safetensors");
    await expectRefused(missing, "not-found", [missing, "no such file"]);
    await expectRefused(dirname(good), "invalid-file", [dirname(good), "is a folder"]);
  });

  /** Renames the checksums, as if the file came from a program without them. */
  function unsealed(bytes: Buffer): Buffer {
    return replaced(replaced(bytes, "stepsize.crc32", "others.crc32x_"), "stepsize-crc32-1", "others-crc32---1");
  }

  function replaced(bytes: Buffer, from: string, to: string): Buffer {
    const text = bytes.toString("latin1");
    expect(text).toContain(from);
    return Buffer.from(
      text.replace(from, () => to),
      "latin1",
    );
  }
});

describe("a checkpoint of another run is refused with the difference and changes nothing", () => {
  const mlp = (hidden: number[]) => models.mlp({ inputs: 144, hidden, classes: 4, device: on });
  const withModel = (model: nn.Module, options = {}) => ({
    model,
    optimizer: new AdamW(model.parameters(), { lr, ...options }),
  });

  it.each([
    {
      what: "wider layers",
      change: () => withModel(mlp([17])),
      words: [
        "does not fit the model",
        "layers.0.weight is float32[16,144], the model has float32[17,144]",
        "layers.1.weight",
      ],
    },
    {
      what: "more layers",
      change: () => withModel(mlp([16, 16])),
      words: ["layers.2.weight is missing", "layers.1.weight is float32[4,16]"],
    },
    { what: "fewer layers", change: () => withModel(mlp([])), words: ["layers.1.weight is not part of the model"] },
    {
      what: "another kind of model",
      change: () => withModel(models.resnet({ depth: 8, width: 4, channels: 1, classes: 4, device: on })),
      words: ["stem.weight is missing", "more differences"],
    },
    {
      what: "another optimizer",
      change: () => {
        const model = plainMLP(on);
        return { model, optimizer: new SGD(model.parameters(), { lr, momentum: 0.9 }) };
      },
      words: ['the optimizer was "AdamW", this run has "SGD"'],
    },
    {
      what: "one that is nearly the same",
      change: () => {
        const model = plainMLP(on);
        return { model, optimizer: new Adam(model.parameters(), { lr }) };
      },
      words: ['the optimizer was "AdamW", this run has "Adam"'],
    },
    {
      what: "AMSGrad",
      change: () => withModel(plainMLP(on), { amsgrad: true }),
      words: ['the rule was "adam", this run has "adamAmsgrad"'],
    },
    {
      what: "other groups",
      change: () =>
        withModel(plainMLP(on), { groups: [{ where: (name: string) => name.endsWith("bias"), weightDecay: 0 }] }),
      words: ["the groups was", '"weightDecay":0'],
    },
    {
      what: "another schedule",
      change: () => {
        const model = plainMLP(on);
        return { model, optimizer: new AdamW(model.parameters(), { lr: schedule.cosine({ budget, maxLr: 0.02 }) }) };
      },
      words: ["the schedule was", '"uba"', '"cosine"'],
    },
    {
      what: "another budget of the schedule",
      change: () => {
        const model = plainMLP(on);
        const longer = schedule.uba({ budget: budget + 1, maxLr: 0.02, warmup: 2 });
        return { model, optimizer: new AdamW(model.parameters(), { lr: longer }) };
      },
      words: ["the schedule was", `"budget":${budget}`, `"budget":${budget + 1}`],
    },
    {
      what: "another seed of the data",
      change: () => ({ batches: { seed: 4 } }),
      words: ["the data was", '"seed":0', '"seed":4'],
    },
    {
      what: "another batch size",
      change: () => ({ batches: { size: 8 } }),
      words: ["the data was", '"size":16', '"size":8'],
    },
    {
      what: "augmentation",
      change: () => ({ batches: { augment: { flip: true } } }),
      words: ["the data was", '"flip":false', '"flip":true'],
    },
    { what: "accumulation", change: () => ({ accumulate: 2 }), words: ["the accumulate was 1, this run has 2"] },
  ])("$what", async ({ change, words }) => {
    await expectRefused(good, "invalid-file", words, change() as Change);
  });

  it("except one that differs only in prefetching", async () => {
    const { trainer } = make({ batches: { prefetch: 7 } });
    await trainer.load(good);
    expect(trainer.step).toBe(6);
  });
});

describe("a checkpoint that cannot be written leaves the old one", () => {
  async function expectUnwritable(path: string, ...words: string[]) {
    const { trainer } = make({ budget: 2 });
    await expectError(() => trainer.save(path), "invalid-file", path, "could not be written", ...words);
    expect(await recordsOf(trainer)).toHaveLength(2);
  }

  it("if a file is in the place of the folder", async () => {
    const file = join(folder(), "file");
    writeFileSync(file, "x");
    await expectUnwritable(join(file, "checkpoint.safetensors"));
  });

  it("if a folder has its name", async () => {
    const path = join(folder(), "taken.safetensors");
    mkdirSync(join(path, "inside"), { recursive: true });
    await expectUnwritable(path);
    expect(readdirSync(dirname(path))).toEqual(["taken.safetensors"]);
    expect(readdirSync(path)).toEqual(["inside"]);
  });

  // The superuser may write everywhere.
  it.skipIf(process.getuid?.() === 0)("if the folder is not writable", async () => {
    const place = folder();
    copyFileSync(good, join(place, "checkpoint.safetensors"));
    chmodSync(place, 0o500);
    await expectUnwritable(join(place, "checkpoint.safetensors"));
    chmodSync(place, 0o700);
    expect(readFileSync(join(place, "checkpoint.safetensors")).equals(readFileSync(good))).toBe(true);
  });

  it("if the disk is full", async () => {
    const place = folder();
    const path = join(place, "checkpoint.safetensors");
    copyFileSync(good, path);
    // Weights of 144·512 and two moments are 864 KiB. The limit applies to each file, whereas a full disk would affect
    // all.
    const program = saving({
      hidden: 512,
      body: `
      const outcome = await trainer.save(${JSON.stringify(path)}).then(() => "saved", ({ code, message }) => ({ code, message }));
      let steps = 0;
      for await (const _ of trainer.run()) steps++;
      console.log(JSON.stringify({ outcome, steps }));`,
    });
    const { outcome, steps } = (await run(folder(), program, { limit: 200 })) as {
      outcome: { code: string; message: string };
      steps: number;
    };
    expect(outcome).toMatchObject({ code: "invalid-file" });
    const room = ["it needs 0.3 MB", "MB are free there"];
    for (const word of [path, "could not be written", ...room, "what was there before is kept"])
      expect(outcome.message).toContain(word);
    expect(steps).toBe(3);
    expect(readdirSync(place)).toEqual(["checkpoint.safetensors"]);
    expect(readFileSync(path).equals(readFileSync(good))).toBe(true);
    // Without the limit it is written, so the limit caused the failure.
    expect(await run(folder(), program)).toMatchObject({ outcome: "saved", steps: 3 });
    expect((await readCheckpoint(path)).model.get("layers.0.weight")?.shape).toEqual([512, 144]);
  });

  it("if the process is killed at any moment, so one always loads", async () => {
    const place = folder();
    const path = join(place, "checkpoint.safetensors");
    const body = `for (;;) {
        await trainer.save(${JSON.stringify(path)});
        trainer.step++;
        process.stdout.write(".");
      }`;
    const steps: number[] = [];
    for (let round = 0; round < 8; round++) {
      const child = start(folder(), saving({ hidden: 2048, body, from: round * 1000 }));
      await once(child.stdout, "data");
      await sleep(Math.random() * 40);
      child.kill("SIGKILL");
      await once(child, "close");
      const { info, model } = await readCheckpoint(path);
      steps.push(info.step);
      expect(model.get("layers.0.weight")?.data).toHaveLength(2048 * 144);
    }
    // Every round wrote its own checkpoints.
    expect(steps.map((step) => Math.floor(step / 1000))).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  /** The text of a program with a trainer whose checkpoint has the size given by `hidden`. */
  function saving({ hidden, body, from = 0 }: { hidden: number; body: string; from?: number }): string {
    return `import { AdamW, data, models, nn, openDevice, Trainer } from ${library};
      const device = await openDevice("cpu", { threads: 1 });
      const model = models.mlp({ inputs: 144, hidden: [${hidden}], classes: 4, device });
      const set = data.fromArrays({ inputs: new Float32Array(144 * 4).fill(0.5), labels: Int32Array.of(0, 1, 2, 3) });
      const optimizer = new AdamW(model.parameters(), { lr: 0.01 });
      const trainer = new Trainer({ model, optimizer, loss: nn.crossEntropy, data: set.batches({ size: 4 }), budget: ${from} + 3 });
      trainer.step = ${from};
      ${body}`;
  }
});
