// A captured step is the step: the same losses and the same end, to the bit, on every device.
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import * as nn from "#lib/nn/index.js";
import { SGD } from "#lib/optim/index.js";
import * as schedule from "#lib/schedule/index.js";
import { type Tensor, tensor } from "#lib/tensor/index.js";
import type { RunOptions, StepRecord, Trainer } from "#lib/train/index.js";
import { cudaDevices, openAll } from "../support/devices.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import {
  budget,
  card,
  device,
  dropping,
  endOf,
  images,
  lowPrecision,
  plainMLP,
  residual,
  runOf,
} from "./support/runs.js";

const folder = temporaryFolders();
const opened = [{ label: "cpu", device: await device() }, ...(await openAll({}, cudaDevices))];
/** On the emulator as many steps as it takes: one eager, one captured, and replays. */
const stepsOn = (label: string): number => (label === "cuda:emulated" ? 5 : budget);

async function recordsOf(trainer: Trainer, options: RunOptions): Promise<StepRecord[]> {
  const records: StepRecord[] = [];
  for await (const record of trainer.run(options)) records.push(record);
  return records;
}

describe.each([residual, dropping, lowPrecision])("$title", ({ make }) => {
  describe.each(opened)("on $label", ({ label, device: on }) => {
    it("has the records and the final state of the eager run if it is captured or runs ahead", async () => {
      const until = stepsOn(label);
      const eager = make(on);
      const records = await recordsOf(eager.trainer, { until });
      expect(records).toHaveLength(until);
      const end = await endOf(eager);
      for (const options of [{ runAhead: true }, { capture: true }, { capture: true, runAhead: true }]) {
        const other = make(on);
        expect(await recordsOf(other.trainer, { ...options, until })).toEqual(records);
        expect(await endOf(other)).toEqual(end);
        expect(other.model.counters()).toEqual(eager.model.counters());
      }
    });
  });
});

describe.each(opened)("images that are changed on the device ($label)", ({ device: on }) => {
  it("give the same records as images that are changed on the host, eager and captured, also before a bf16 model", async () => {
    for (const { make } of [residual, lowPrecision]) {
      const augment = { pad: 1, flip: true };
      const until = 3;
      const expected = await recordsOf(make(on, { batches: { augment } }).trainer, { until });
      const there = { batches: { augment: { ...augment, on: "device" as const } } };
      expect(await recordsOf(make(on, there).trainer, { until })).toEqual(expected);
      expect(await recordsOf(make(on, there).trainer, { until, capture: true })).toEqual(expected);
    }
  });
});

describe("a captured run", () => {
  it("can alternate with eager steps, pauses, evaluations and checkpoints", async () => {
    const on = await device();
    const whole = dropping.make(on);
    const records = await recordsOf(whole.trainer, {});
    const path = join(folder(), "seven.safetensors");
    const run = dropping.make(on);
    const parts: StepRecord[] = [];
    for (const [until, capture] of [
      [3, true],
      [5, false],
      [7, true],
    ] as const) {
      parts.push(...(await recordsOf(run.trainer, { until, capture })));
      await run.trainer.evaluate(images.batches({ size: 16 }));
    }
    await run.trainer.save(path);
    // On, as a trainer that goes back: the captured step reads what was loaded.
    const expected = await recordsOf(run.trainer, { capture: true });
    await run.trainer.load(path);
    expect(await recordsOf(run.trainer, { capture: true })).toEqual(expected);
    expect([...parts, ...expected]).toEqual(records);
    expect(await endOf(run)).toEqual(await endOf(whole));
  });

  it("makes a step with a short batch eagerly", async () => {
    const on = await device();
    // 80 images: 24, 24, 24 and 8.
    const batches = { size: 24, dropLast: false };
    const records = await recordsOf(residual.make(on, { batches }).trainer, {});
    expect(records.map(({ items }) => items).slice(0, 5)).toEqual([24, 24, 24, 8, 24]);
    expect(await recordsOf(residual.make(on, { batches }).trainer, { capture: true })).toEqual(records);
    // Three to a step, of which one may be short.
    const few = { batches: { size: 24, dropLast: false } };
    const dropped = await recordsOf(dropping.make(on, few).trainer, {});
    expect(dropped.map(({ items }) => items).slice(0, 3)).toEqual([72, 56, 56]);
    expect(await recordsOf(dropping.make(on, few).trainer, { capture: true })).toEqual(dropped);
  });

  it("holds no more memory after a hundred steps than after three, and releases all of it", async () => {
    const on = await device();
    const model = plainMLP(on);
    const optimizer = new SGD(model.parameters(), { lr: schedule.uba({ budget: 100, maxLr: 0.1 }), momentum: 0.9 });
    const data = images.batches({ size: 16 });
    const { trainer } = runOf({ model, optimizer, loss: nn.crossEntropy, data, card });
    await recordsOf(trainer, { until: 1 });
    const before = on.memory();
    await recordsOf(trainer, { until: 3, capture: true });
    const { allocated } = on.memory();
    expect(allocated).toBeGreaterThan(before.allocated);
    await recordsOf(trainer, { capture: true });
    expect(on.memory().allocated).toBe(allocated);
    trainer.dispose();
    // The two tensors that the preprocessing kept are released too. The optimizer's table of learning rates stays.
    expect(on.memory().tensors).toBe(before.tensors - 2 + 1);
  });

  describe("whose metrics are read in bursts", () => {
    /** With a clock that stands still, bursts grow to 16 steps. With one that leaps, they have one step. */
    const clocks = { "standing still": () => 0, leaping: () => (leaps += 1e6) };
    let leaps = 0;
    afterEach(() => {
      vi.restoreAllMocks();
    });
    const make = async (lr: number | schedule.Schedule = 0.1) => {
      const on = await device();
      const model = plainMLP(on);
      const optimizer = new SGD(model.parameters(), { lr, momentum: 0.9, clipNorm: 10 });
      return runOf({ model, optimizer, loss: nn.crossEntropy, data: images.batches({ size: 16 }), budget: 200, card });
    };

    // The first step is eager and reads its loss and its statistics. Bursts double at most with every third reading: what
    // was enqueued before a reading does not depend on that reading.
    it.each([
      { clock: "standing still", min: 2 + 200 / 16, max: 2 + 3 * 5 + 200 / 16 },
      { clock: "leaping", min: 2 + 199, max: 2 + 199 },
    ] as const)("has the eager run's records with the clock $clock", async ({ clock, min, max }) => {
      const records = await recordsOf((await make()).trainer, {});
      vi.spyOn(performance, "now").mockImplementation(clocks[clock]);
      const { trainer } = await make();
      const reading = vi.spyOn(trainer.device.native, "read");
      expect(await recordsOf(trainer, { capture: true, runAhead: true })).toEqual(records);
      expect(reading.mock.calls.length).toBeGreaterThanOrEqual(min);
      expect(reading.mock.calls.length).toBeLessThanOrEqual(max);
    });

    it("yields the records before a non-finite step, then fails like the eager run", async () => {
      // The gradient's norm is finite until the parameters are not.
      const steady = schedule.constant({ budget: 200, maxLr: 0.1 });
      const rate = (step: number) => (step === 40 ? 1e38 : steady(step));
      const exploding = Object.defineProperties(rate, Object.getOwnPropertyDescriptors(steady)) as typeof steady;
      const ends = [];
      vi.spyOn(performance, "now").mockImplementation(clocks["standing still"]);
      for (const capture of [false, true]) {
        const records: StepRecord[] = [];
        let message = "none";
        try {
          for await (const record of (await make(exploding)).trainer.run({ capture, runAhead: true }))
            records.push(record);
        } catch (error) {
          message = String(error);
        }
        ends.push({ records, message });
      }
      expect(ends[1]).toEqual(ends[0]);
      expect(ends[0]?.message).toContain("step 41: the loss is NaN");
      expect(ends[0]?.records).toHaveLength(41);
    });

    it("continues after the consumer left in the middle of a burst, and after a stop", async () => {
      const records = await recordsOf((await make()).trainer, {});
      vi.spyOn(performance, "now").mockImplementation(clocks["standing still"]);
      const { trainer } = await make();
      const options = { capture: true, runAhead: true };
      for await (const { step } of trainer.run(options)) if (step === 20) break;
      const left = trainer.step;
      const seen: StepRecord[] = [];
      for await (const record of trainer.run(options)) {
        seen.push(record);
        if (record.step === left + 5) trainer.stop();
      }
      const stopped = trainer.step;
      expect(stopped).toBeLessThan(200);
      // Every finished step has a record.
      expect(seen).toEqual(records.slice(left, stopped));
      expect(await recordsOf(trainer, { capture: true })).toEqual(records.slice(stopped));
    });
  });

  it("fails with an error if a step cannot be captured, and continues eagerly", async () => {
    const on = await device();
    const make = () => {
      const model = plainMLP(on);
      const optimizer = new SGD(model.parameters(), { lr: 0.1 });
      // A loss that uploads something at every call.
      const loss = (x: Tensor, y: Tensor) => nn.crossEntropy(x, y).multiply(tensor(on, [0.5]).reshape([]));
      return runOf({ model, optimizer, loss, data: images.batches({ size: 16 }), budget: 4, card });
    };
    const { trainer } = make();
    await expectError(() => recordsOf(trainer, { capture: true }), "invalid-state", "captured");
    const rest = await recordsOf(trainer, {});
    expect(rest.at(-1)).toEqual((await recordsOf(make().trainer, {})).at(-1));
  });
});
