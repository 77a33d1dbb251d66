// How long the device waits for data: only the time in which it has no work counts. A clock of the test takes the place
// of time, and one test has a real device and data that are slow by design.
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { SlowData } from "#lib/cli/commands/slow-data.js";
import type { BatchSource } from "#lib/data/index.js";
import * as nn from "#lib/nn/index.js";
import { SGD } from "#lib/optim/index.js";
import { DataWait } from "#lib/train/data-wait.js";
import type { RunOptions, Trainer } from "#lib/train/index.js";
import { StepQueue } from "#lib/train/step-queue.js";
import { card, device, images, plainMLP, runOf } from "./support/runs.js";

/** A queue with steps that end, and data that arrive, when the test says so. */
function measured() {
  let time = 0;
  const queue = new StepQueue({ maxBurst: 16, now: () => time });
  const wait = new DataWait(queue, () => time);
  const ends: (() => void)[] = [];
  const ended = (): Promise<void> => new Promise((resolve) => ends.push(resolve));
  const known = { step: 0, learningRate: 0.1, items: 4 };
  return {
    queue,
    seconds: () => wait.seconds,
    beginEager: () => queue.push({ known, metrics: ended().then(() => ({ losses: [1] })) }),
    beginReplay: () =>
      queue.push({ known, replays: { metrics: () => ended().then(() => [{ losses: [1] }, { losses: [1] }]) } }),
    /** Draws data. `events` are milliseconds that pass before, and what happens then: a step ends. The data come last. */
    async draw(...events: (number | "end")[]) {
      await wait.during(async () => {
        for (const event of events) {
          if (event === "end") ends.shift()?.();
          else time += event;
          await new Promise((resolve) => setImmediate(resolve));
        }
      });
    },
    pass: (milliseconds: number) => {
      time += milliseconds;
    },
  };
}

describe("the device's wait for data", () => {
  it("counts from the call if the device has nothing to do", async () => {
    const { draw, seconds, pass } = measured();
    pass(1000);
    await draw(30);
    pass(1000);
    await draw(12);
    expect(seconds()).toBeCloseTo(0.042, 12);
  });

  it("does not count if data arrive while the device works, and counts only what is left otherwise", async () => {
    const { beginEager, draw, seconds } = measured();
    beginEager();
    await draw(500);
    expect(seconds()).toBe(0);
    await draw(40, "end", 7);
    expect(seconds()).toBeCloseTo(0.007, 12);
  });

  it("waits for the last of several steps", async () => {
    const { beginEager, draw, seconds } = measured();
    beginEager();
    beginEager();
    await draw(5, "end", 50, "end", 3);
    expect(seconds()).toBeCloseTo(0.003, 12);
  });

  it("reads the results of collected replays if data are not there at once, and so knows when they ended", async () => {
    const { queue, beginReplay, draw, seconds } = measured();
    // Bursts of two, as fast steps have.
    beginReplay();
    await draw("end");
    await queue.next();
    beginReplay();
    await draw(1, "end");
    await queue.next();
    beginReplay();
    expect(queue.idleSince).toBeUndefined();
    await draw(1, 20, "end", 8);
    expect(seconds()).toBeCloseTo(0.008, 12);
  });

  it("counts if drawing fails", async () => {
    let time = 0;
    const wait = new DataWait(new StepQueue({ maxBurst: 1 }), () => time);
    const failing = wait.during(async () => {
      time += 10;
      throw new Error("no data");
    });
    await expect(failing).rejects.toThrow("no data");
    expect(wait.seconds).toBeCloseTo(0.01, 12);
  });
});

describe("a trainer whose data are slow", () => {
  const delay = 20;
  const plain = images.batches({ size: 16 });
  const lossesIn = async (trainer: Trainer, options: RunOptions) => {
    const losses: number[] = [];
    for await (const { loss } of trainer.run(options)) losses.push(loss);
    return losses;
  };

  it.each<RunOptions>([{}, { capture: true }, { runAhead: true }, { capture: true, runAhead: true }])(
    "%o: counts the delay of every step, and has the records of fast data",
    async (options) => {
      const on = await device();
      /** Each batch comes after the device has been idle for a while. */
      const slow: BatchSource = Object.create(plain, {
        from: {
          value: async function* (first: number) {
            for await (const batch of plain.from(first)) {
              await on.synchronize();
              await sleep(delay);
              yield batch;
            }
          },
        },
      });
      const make = (data: BatchSource) => {
        const model = plainMLP(on);
        const optimizer = new SGD(model.parameters(), { lr: 0.01 });
        return runOf({ model, optimizer, loss: nn.crossEntropy, data, card, budget: 8 }).trainer;
      };
      const trainer = make(slow);
      expect(trainer.dataWait).toBe(0);
      const losses = await lossesIn(trainer, options);
      // Timers may fire up to a millisecond early.
      expect(trainer.dataWait).toBeGreaterThan((8 * (delay - 2)) / 1000);
      expect(losses).toEqual(await lossesIn(make(plain), {}));
    },
  );
});

describe("the hint of slow data", () => {
  const subject = { unit: "images", onCpu: true } as const;

  it("is given once, after some seconds, and does not count the first batch", () => {
    const slow = new SlowData(subject);
    expect(slow.hintAt({ seconds: 10, waited: 10 })).toBeUndefined();
    expect(slow.hintAt({ seconds: 12, waited: 11 })).toBeUndefined();
    expect(slow.hintAt({ seconds: 20, waited: 14.3 })).toBe(
      "the data are slower than the device, which waits for them 43 % of the time. What may help: a larger --batch," +
        " smaller images, no --augment, fewer --threads, which leave a core for the data",
    );
    expect(slow.hintAt({ seconds: 30, waited: 24 })).toBeUndefined();
  });

  it("is not given if the device waits for a fifth of the time or less", () => {
    const fast = new SlowData({ unit: "tokens", onCpu: false });
    expect(fast.hintAt({ seconds: 0, waited: 0 })).toBeUndefined();
    for (let seconds = 1; seconds < 100; seconds++)
      expect(fast.hintAt({ seconds, waited: seconds / 5 })).toBeUndefined();
    expect(fast.hintAt({ seconds: 100, waited: 30 })).toContain("What may help: a larger --batch");
  });
});
