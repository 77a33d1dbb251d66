// Continuing as another run with other learning rates, a longer budget or other data, while the optimizer state is
// kept. The call must allow it. Data that were only moved or renamed count as the same.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as lib from "#lib/index.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";

const { data, nn, schedule } = lib;
const folder = temporaryFolders();
let device: lib.Device;
beforeAll(async () => {
  device = await lib.openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

const values = Float32Array.from({ length: 120 }, (_, i) => Math.sin(i * i));
const labels = Int32Array.from({ length: 40 }, (_, i) => i % 2);
const items = (name: string, inputs = values) => data.fromArrays({ inputs, labels, shape: [3], name });

interface Change {
  readonly lr?: lib.LearningRate;
  readonly groupLr?: lib.LearningRate;
  readonly source?: lib.data.BatchSource;
  readonly budget?: number;
  readonly weightDecay?: number;
}

function trainer(change: Change = {}) {
  const { lr = schedule.uba({ budget: 20, maxLr: 0.1, phi: 5 }), groupLr, weightDecay = 0.01, budget } = change;
  const { source = items("one").batches({ size: 8, seed: 3 }) } = change;
  const model = new nn.Linear(3, 2, { device, seeds: new nn.Seeds(1) });
  const groups = groupLr === undefined ? [] : [{ where: (name: string) => name === "bias", lr: groupLr }];
  const optimizer = new lib.AdamW(model.parameters(), { lr, weightDecay, groups });
  return new lib.Trainer({ model, optimizer, loss: nn.crossEntropy, data: source, budget });
}

async function recordsOf(run: AsyncIterable<lib.StepRecord>) {
  const records: lib.StepRecord[] = [];
  for await (const record of run) records.push(record);
  return records;
}

/** Saves a checkpoint after 12 of 20 steps of a run. */
async function savedAfter12(change: Change = {}): Promise<string> {
  const resumed = trainer(change);
  await recordsOf(resumed.run({ until: 12 }));
  const path = join(folder(), "12.safetensors");
  await resumed.save(path);
  return path;
}

const longer = () => schedule.uba({ budget: 40, maxLr: 0.2, phi: 5 });

describe("another schedule", () => {
  test("is refused unless it is allowed, and the error describes how to allow it", async () => {
    const path = await savedAfter12();
    const resumed = trainer({ lr: longer() });
    const words = ["the schedule was", '"budget":20', '"budget":40', '{ allow: ["schedule"] }', "--allow schedule"];
    await expectError(() => resumed.load(path), "invalid-file", "of another run", ...words);
    await expectError(() => resumed.load(path, { allow: ["data"] }), "invalid-file", ...words);
    expect(resumed.step).toBe(0);
  });

  test("continues at its rate of that step with the saved optimizer state", async () => {
    const path = await savedAfter12();
    const resumed = trainer({ lr: longer() });
    await resumed.load(path, { allow: ["schedule"] });
    expect(resumed.step).toBe(12);
    const records = await recordsOf(resumed.run());
    expect(records.map(({ step }) => step)).toEqual(Array.from({ length: 28 }, (_, i) => i + 12));
    const plan = longer();
    for (const { step, learningRate } of records) expect(learningRate).toBe(plan(step));
    // The state equals that of a run with the old rates for 12 steps and the new rates after them.
    const rates = (step: number) => (step < 12 ? schedule.uba({ budget: 20, maxLr: 0.1, phi: 5 }) : plan)(step);
    const through = await recordsOf(trainer({ lr: Object.assign(rates, { budget: 40 }) }).run());
    expect(records.map(({ loss }) => loss)).toEqual(through.slice(12).map(({ loss }) => loss));
  });

  test("needs no permission after it was saved again", async () => {
    const path = await savedAfter12();
    const resumed = trainer({ lr: longer() });
    await resumed.load(path, { allow: ["schedule"] });
    await resumed.save(path);
    const again = trainer({ lr: longer() });
    await again.load(path);
    expect(again.step).toBe(12);
    await expectError(() => trainer().load(path), "invalid-file", "the schedule was");
  });

  test("of a parameter group, or given as a function, must be allowed too", async () => {
    const group = await savedAfter12({ groupLr: 0.05 });
    const other = trainer({ groupLr: 0.06 });
    await expectError(() => other.load(group), "invalid-file", "the groups was", "--allow schedule");
    await other.load(group, { allow: ["schedule"] });
    const custom = (rate: number) => Object.assign(() => rate, { budget: 20 });
    const path = await savedAfter12({ lr: custom(0.1) });
    const changed = trainer({ lr: custom(0.2) });
    await expectError(() => changed.load(path), "invalid-file", "gave 0.1 at step 0", "--allow schedule");
    await changed.load(path, { allow: ["schedule"] });
    expect(changed.step).toBe(12);
  });

  test("does not include other options of the optimizer, or a budget that has been exceeded", async () => {
    const path = await savedAfter12();
    const decayed = trainer({ lr: longer(), weightDecay: 0.5 });
    const all = { allow: ["schedule", "data"] } as const;
    const error = await decayed.load(path, all).catch((thrown: Error) => thrown);
    expect(String(error)).toContain("the groups was");
    expect(String(error)).not.toContain("--allow");
    const short = trainer({ lr: schedule.uba({ budget: 10, maxLr: 0.1 }) });
    await expectError(() => short.load(path, all), "invalid-file", "it has made 12 steps, this run's budget is 10");
  });

  test("accepts only known names", async () => {
    const path = await savedAfter12();
    for (const allow of [true, "schedule", ["model"], [1]])
      await expectError(() => trainer().load(path, { allow } as never), "invalid-argument", "load.allow", '"data"');
  });
});

describe("data", () => {
  const batches = (set: ReturnType<typeof items>) => set.batches({ size: 8, seed: 3 });

  test("that were only renamed count as the same and give the same bits", async () => {
    const path = await savedAfter12();
    const resumed = trainer({ source: batches(items("another name", values.slice())) });
    await resumed.load(path);
    const whole = await recordsOf(trainer().run());
    expect(await recordsOf(resumed.run())).toEqual(whole.slice(12));
  });

  test("with other content are refused, whatever their name, unless allowed", async () => {
    const path = await savedAfter12();
    const changed = values.slice();
    changed[77] = 0.5;
    for (const name of ["one", "two"]) {
      const resumed = trainer({ source: batches(items(name, changed)) });
      await expectError(() => resumed.load(path), "invalid-file", "the data was", '"digest"', "--allow data");
      await resumed.load(path, { allow: ["data"] });
      expect(await recordsOf(resumed.run())).toHaveLength(8);
    }
  });

  test("that are a part of other data are identified by their items", async () => {
    const part = (set: ReturnType<typeof items>, seed: number) => batches(set.split({ validation: 0.25, seed }).train);
    const path = await savedAfter12({ source: part(items("one"), 1) });
    await trainer({ source: part(items("two"), 1) }).load(path);
    await expectError(() => trainer({ source: part(items("one"), 2) }).load(path), "invalid-file", "the data was");
  });

  test("are identified by labels, types and shapes too", async () => {
    const base = await items("one").batches({ size: 8 }).digest?.();
    const others = [
      data.fromArrays({ inputs: values, labels: labels.map((label) => 1 - label), shape: [3] }),
      data.fromArrays({ inputs: values, labels, shape: [3, 1] }),
      data.fromArrays({ inputs: new Uint8Array(120), labels, shape: [3] }),
      data.fromArrays({ inputs: values, labels: Float32Array.from(labels), shape: [3] }),
    ];
    const digests = await Promise.all(others.map((set) => set.batches({ size: 8 }).digest?.()));
    expect(new Set([base, ...digests]).size).toBe(5);
    expect(base).toMatch(/^[0-9a-f]{64}$/);
  });

  test("without a known content are identified by their name", async () => {
    const batch = await batches(items("one")).at(0);
    const source = (name: string) => data.fromIterable(() => Array.from({ length: 40 }, () => batch), { name });
    const path = await savedAfter12({ source: source("one") });
    await trainer({ source: source("one") }).load(path);
    const renamed = trainer({ source: source("two") });
    await expectError(() => renamed.load(path), "invalid-file", "the data was", "--allow data");
    await renamed.load(path, { allow: ["data"] });
  });
});

test("data of a checkpoint that was saved without a digest are identified by their name", async () => {
  const path = await savedAfter12();
  const { tensors, metadata } = await lib.readSafetensors(path);
  const info = JSON.parse(metadata["stepsize"] as string);
  delete info.run.data.digest;
  await lib.writeSafetensors(path, tensors, { stepsize: JSON.stringify(info) });
  await trainer().load(path);
  const renamed = trainer({ source: items("two").batches({ size: 8, seed: 3 }) });
  await expectError(() => renamed.load(path), "invalid-file", "the data was", "--allow data");
});
