// A checkpoint has the state after the number of steps that it states, whenever save is called: between steps, during a
// step, from the data, from the loss, or from a timer. A run resumed from it has the bits of an uninterrupted run.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Batch, type BatchSource, fromIterable } from "#lib/data/index.js";
import * as nn from "#lib/nn/index.js";
import { type AdamOptions, AdamW, SGD } from "#lib/optim/index.js";
import * as schedule from "#lib/schedule/index.js";
import type * as t from "#lib/tensor/index.js";
import type { RunOptions, StepRecord } from "#lib/train/index.js";
import { readCheckpoint } from "#lib/weights/index.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import { card, device, endOf, images, recordsOf, runOf } from "./support/runs.js";

const on = await device();
const folder = temporaryFolders();
const budget = 9;

/**
 * A model with all state that a forward pass changes besides weights: running statistics and a counter of random
 * numbers.
 */
function modelOf(seed: number): nn.Module {
  const place = { device: on, seeds: new nn.Seeds(seed) };
  return new nn.Sequential(
    new nn.Flatten(),
    new nn.Linear(144, 12, place),
    new nn.BatchNorm(12, place),
    new nn.Dropout(0.3, { seeds: 5 }),
    new nn.Linear(12, 4, place),
  );
}

interface Setting {
  readonly accumulate: number;
  readonly augmentOn: "host" | "device";
  readonly clipNorm: number | undefined;
}

const lr = schedule.uba({ budget, maxLr: 0.05, warmup: 2 });

/** @param at called at every moment at which a program can run: at every batch, loss and turn of the event loop */
function make(
  { accumulate, augmentOn, clipNorm }: Setting,
  at: (place: string) => Promise<void> | undefined,
  seed = 0,
) {
  const model = modelOf(seed);
  const source = images.batches({ size: 8, seed: 4, augment: { pad: 1, flip: true, on: augmentOn } });
  const data: BatchSource = Object.assign(Object.create(source), {
    async *from(step: number): AsyncGenerator<Batch> {
      for await (const batch of source.from(step)) {
        await at("data");
        yield batch;
      }
    },
    toJSON: () => source.toJSON(),
  });
  const loss = (outputs: t.Tensor, targets: t.Tensor) => {
    void at("loss");
    return nn.crossEntropy(outputs, targets);
  };
  const optimizer = new AdamW(model.parameters(), { lr, clipNorm });
  return runOf({ model, optimizer, loss, data, accumulate, card: { preprocessing: card.preprocessing } });
}

describe("a checkpoint saved at any moment", () => {
  const settings = fc.record({
    accumulate: fc.integer({ min: 1, max: 3 }),
    augmentOn: fc.constantFrom("host" as const, "device" as const),
    clipNorm: fc.constantFrom(undefined, 1),
  });
  const modes = fc.record({ capture: fc.boolean(), runAhead: fc.boolean() });
  const places = fc.uniqueArray(fc.nat({ max: 45 }), { minLength: 1, maxLength: 3 });

  it("resumes with the bits of the uninterrupted run", async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(settings, modes, places, async (setting, mode: RunOptions, moments) => {
        const reference = make(setting, () => undefined);
        const records = await recordsOf(reference.trainer);
        const end = await endOf(reference);

        const place = folder();
        const saves: Promise<string>[] = [];
        let moment = 0;
        const at = (where: string): Promise<void> | undefined => {
          if (!moments.includes(moment++)) return undefined;
          seen.add(`${where} ${setting.accumulate > 1} ${mode.capture} ${mode.runAhead}`);
          const path = join(place, `${moment}.safetensors`);
          const saving = run.trainer.save(path).then(() => path);
          saves.push(saving);
          return saving.then(() => {});
        };
        const run = make(setting, at);
        let running = true;
        const timer = (async () => {
          for (; running; await nextTurn()) if (run.trainer.step > 0) void at("timer")?.catch(() => {});
        })();
        const done: StepRecord[] = [];
        for await (const record of run.trainer.run(mode)) {
          done.push(record);
          await at("body")?.catch(() => {});
        }
        running = false;
        await timer;
        expect(done).toEqual(records);
        expect(await endOf(run)).toEqual(end);

        for (const saving of await Promise.allSettled(saves)) {
          if (saving.status === "rejected") {
            // The loop was at an earlier record than the weights.
            expect(mode.runAhead).toBe(true);
            await expectError(() => Promise.reject(saving.reason), "invalid-state", "is ahead", "checkpointEvery");
            continue;
          }
          const { step } = (await readCheckpoint(saving.value)).info;
          const other = make(setting, () => undefined, 99);
          await other.trainer.load(saving.value);
          expect(other.trainer.step).toBe(step);
          expect(await recordsOf(other.trainer)).toEqual(records.slice(step));
          expect(await endOf(other)).toEqual(end);
        }
      }),
      { numRuns: 40 },
    );
    // Most combinations of places and modes occur in the random draws.
    expect(seen.size).toBeGreaterThan(12);
  });
});

describe("a failing step", () => {
  /** A loss that throws at one call. */
  const failingAt = (call: number) => {
    let calls = 0;
    return (outputs: t.Tensor, targets: t.Tensor) => {
      if (calls++ === call) throw new Error("no loss this time");
      return nn.crossEntropy(outputs, targets);
    };
  };
  const dropping = (): nn.Module =>
    new nn.Sequential(
      new nn.Flatten(),
      new nn.Linear(144, 12, { device: on, seeds: 1 }),
      new nn.Dropout(0.3, { seeds: 5 }),
      new nn.Linear(12, 4, { device: on, seeds: 2 }),
    );
  const start = (model: nn.Module, loss: nn.Loss) =>
    runOf({
      model,
      optimizer: new SGD(model.parameters(), { lr, momentum: 0.9 }),
      loss,
      data: images.batches({ size: 8 }),
      accumulate: 2,
      card,
    });

  it("is repeated with the same bits if it fails halfway", async () => {
    const records = await recordsOf(start(dropping(), nn.crossEntropy).trainer);
    const run = start(dropping(), failingAt(7));
    const seen: StepRecord[] = [];
    await expect(
      (async () => {
        for await (const record of run.trainer.run()) seen.push(record);
      })(),
    ).rejects.toThrow("no loss this time");
    expect(run.trainer.step).toBe(3);
    const path = join(folder(), "three.safetensors");
    await run.trainer.save(path);
    const other = start(dropping(), nn.crossEntropy);
    await other.trainer.load(path);
    for (const { trainer } of [run, other]) expect([...seen, ...(await recordsOf(trainer))]).toEqual(records);
  });

  it("that has changed running statistics leaves a state that can be neither saved nor continued", async () => {
    const records = await recordsOf(start(modelOf(0), nn.crossEntropy).trainer);
    const run = start(modelOf(0), failingAt(7));
    const path = join(folder(), "two.safetensors");
    const onStep = { steps: [2], callback: () => run.trainer.save(path) };
    const seen: StepRecord[] = [];
    await expect(
      (async () => {
        for await (const record of run.trainer.run({ onStep })) seen.push(record);
      })(),
    ).rejects.toThrow("no loss this time");
    const words = ["step 3 failed", "running statistics", "no loss this time", `${path}, of step 2`];
    await expectError(() => run.trainer.save(join(folder(), "no.safetensors")), "invalid-state", "save", ...words);
    await expectError(() => recordsOf(run.trainer), "invalid-state", "run", ...words);
    await run.trainer.load(path);
    expect([...seen.slice(0, 2), ...(await recordsOf(run.trainer))]).toEqual(records);
  });

  it("changes nothing if its data fail", async () => {
    const source = images.batches({ size: 8 });
    let calls = 0;
    const data: BatchSource = Object.assign(Object.create(source), {
      async *from(step: number): AsyncGenerator<Batch> {
        for await (const batch of source.from(step)) {
          if (calls++ === 7) throw new Error("no batch this time");
          yield batch;
        }
      },
      toJSON: () => source.toJSON(),
    });
    const model = modelOf(0);
    const optimizer = new SGD(model.parameters(), { lr, momentum: 0.9 });
    const run = runOf({ model, optimizer, loss: nn.crossEntropy, data, accumulate: 2, card });
    const records = await recordsOf(start(modelOf(0), nn.crossEntropy).trainer);
    const seen: StepRecord[] = [];
    await expect(
      (async () => {
        for await (const record of run.trainer.run()) seen.push(record);
      })(),
    ).rejects.toThrow("no batch this time");
    expect([...seen, ...(await recordsOf(run.trainer))]).toEqual(records);
  });
});

describe("a run with a non-finite step", () => {
  const bad = 5;
  const size = 16;
  const values = Float32Array.from({ length: 20 * size * 6 }, (_, i) => Math.sin(i * i));

  /** Batches with one that is bad at the first reading: its items are so large that the loss overflows. */
  function batchesWith(accident: boolean): BatchSource {
    let accidents = accident ? 1 : 0;
    return fromIterable(function* () {
      for (let step = 0; ; step++) {
        const isBad = step === bad && accidents > 0;
        if (isBad) accidents--;
        const part = values.subarray(step * size * 6, (step + 1) * size * 6);
        const inputs = { data: isBad ? new Float32Array(size * 6).fill(3e38) : part.slice(), shape: [size, 6] };
        yield { inputs, labels: Int32Array.from({ length: size }, (_, i) => i % 4) };
      }
    });
  }

  /** A loss with an unchanged value and a NaN gradient at one call: x + √(x − x) has the derivative 1 + (1 − 1)/0. */
  function lossWith(accident: boolean): nn.Loss {
    let calls = 0;
    return (outputs, targets) => {
      const x = nn.crossEntropy(outputs, targets);
      return accident && calls++ === bad ? x.add(x.subtract(x).sqrt()) : x;
    };
  }

  const make = (options: Omit<AdamOptions, "lr">, accident?: "gradient" | "data") => {
    const model = new nn.Sequential(
      new nn.Linear(6, 12, { device: on, seeds: 1 }),
      new nn.Linear(12, 4, { device: on }),
    );
    return runOf({
      model,
      optimizer: new AdamW(model.parameters(), { lr: 0.01, ...options }),
      loss: lossWith(accident === "gradient"),
      data: batchesWith(accident === "data"),
      budget: 9,
    });
  };

  const ahead = [{}, { runAhead: true }];
  // A captured step calls the loss once for all replays.
  const cases = [
    { accident: "gradient", modes: ahead },
    { accident: "data", modes: [...ahead, ...ahead.map((mode) => ({ ...mode, capture: true }))] },
  ] as const;
  const checks = [{}, { clipNorm: 1 }, { nonFinite: "stop" }] as const;

  it.each(cases)(
    "writes no checkpoint of that step, names the last good one and continues from it ($accident)",
    async ({ accident, modes }) => {
      for (const options of checks)
        for (const mode of modes) {
          const undisturbed = make(options);
          const records = await recordsOf(undisturbed.trainer);
          const run = make(options, accident);
          const place = folder();
          const checkpointEvery = { steps: 1, path: (step: number) => join(place, `${step}.safetensors`) };
          const running = async () => {
            for await (const _ of run.trainer.run({ ...mode, checkpointEvery }));
          };
          await expectError(running, "non-finite");
          expect(readdirSync(place)).toHaveLength(bad);
          const last = join(place, `${bad}.safetensors`);
          expect(run.trainer.lastCheckpoint).toEqual({ path: last, step: bad });
          const words = [`${last}, of step ${bad}`];
          await expectError(() => run.trainer.save(join(place, "later")), "non-finite", "save: nothing", ...words);
          await expectError(() => recordsOf(run.trainer), "non-finite", "run", ...words);
          await run.trainer.load(last);
          expect(await recordsOf(run.trainer)).toEqual(records.slice(bad));
          expect(await endOf(run)).toEqual(await endOf(undisturbed));
        }
    },
  );

  it.each(ahead)("is not saved by a loop that ended before the step's record: %o", async (mode) => {
    for (const options of checks) {
      const run = make(options, "data");
      for await (const { step } of run.trainer.run(mode)) if (step === bad - 1) break;
      const path = join(folder(), "left.safetensors");
      if (!mode.runAhead) {
        await run.trainer.save(path);
        expect((await readCheckpoint(path)).info.step).toBe(bad);
      } else await expectError(() => run.trainer.save(path), "non-finite", "save", `step ${bad}`);
    }
  });

  it("saves and resumes the same run if the step is skipped", async () => {
    const whole = make({ nonFinite: "skip" }, "data");
    const records = await recordsOf(whole.trainer);
    expect(records[bad]).toMatchObject({ skipped: true });
    const run = make({ nonFinite: "skip" }, "data");
    const path = join(folder(), "skipped.safetensors");
    for await (const { step } of run.trainer.run()) if (step === bad) break;
    await run.trainer.save(path);
    const other = make({ nonFinite: "skip" });
    await other.trainer.load(path);
    expect(await recordsOf(other.trainer)).toEqual(records.slice(bad + 1));
    expect(await endOf(other)).toEqual(await endOf(whole));
  });

  it("does not affect an earlier call of save", async () => {
    const run = make({}, "data");
    const path = join(folder(), "before.safetensors");
    let saving: Promise<void> | undefined;
    const running = async () => {
      for await (const { step } of run.trainer.run()) if (step === bad - 1) saving = run.trainer.save(path);
    };
    await expectError(running, "non-finite");
    await saving;
    expect((await readCheckpoint(path)).info.step).toBe(bad);
  });
});
