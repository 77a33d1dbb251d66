// The queue of enqueued steps: which results may be outstanding, when the metrics of replays are read, and what happens
// after failures. Plain promises take the place of a device.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type MeasuredStep, StepQueue, stepsAhead } from "#lib/train/step-queue.js";
import type { EnqueuedStep, StepMetrics } from "#lib/train/step-record.js";

const maxBurst = 16;

const known = (step: number): EnqueuedStep => ({ step, learningRate: 0.1, items: 4 });
const metricsOf = (step: number): StepMetrics => ({ losses: [step / 2] });
const measured = (step: number): MeasuredStep => ({ known: known(step), metrics: metricsOf(step) });

/** A queue whose results arrive when the test says so, in place of a device. */
function queueWithDevice() {
  let time = 0;
  let replayed: number[] = [];
  const reads: { steps: readonly number[]; arrive: () => void; fail: (error: Error) => void }[] = [];
  const queue = new StepQueue({ maxBurst, now: () => time });
  const enqueueRead = <T>(steps: readonly number[], result: T) =>
    new Promise<T>((resolve, reject) => {
      reads.push({ steps, arrive: () => resolve(result), fail: reject });
    });
  const replays = {
    metrics: () => {
      const steps = replayed;
      replayed = [];
      return enqueueRead(steps, steps.map(metricsOf));
    },
  };
  return {
    queue,
    /** The reads that were enqueued, in order. */
    reads,
    stepsRead: () => reads.map(({ steps }) => steps),
    wait: (milliseconds: number) => {
      time += milliseconds;
    },
    eager: (step: number) => queue.push({ known: known(step), metrics: enqueueRead([step], metricsOf(step)) }),
    replay: (step: number) => {
      replayed.push(step);
      queue.push({ known: known(step), replays });
    },
    async taken(count: number) {
      const steps: number[] = [];
      for (let i = 0; i < count; i++) steps.push((await queue.next())?.known.step ?? Number.NaN);
      return steps;
    },
  };
}

const unhandled: unknown[] = [];
const collect = (error: unknown) => unhandled.push(error);
beforeEach(() => {
  unhandled.length = 0;
  process.on("unhandledRejection", collect);
});
afterEach(async () => {
  // Node.js reports unhandled rejections after the microtasks.
  await new Promise((resolve) => setImmediate(resolve));
  process.off("unhandledRejection", collect);
  expect(unhandled).toEqual([]);
});

describe("order", () => {
  it("an empty queue has no next step", async () => {
    const { queue } = queueWithDevice();
    expect([queue.isEmpty, queue.isFull]).toEqual([true, false]);
    queue.flush();
    expect(queue.isEmpty).toBe(true);
    expect(await queue.next()).toBeUndefined();
  });

  it("steps are taken in the order in which they were added, also if later results arrive first", async () => {
    const { queue, eager, replay, reads, stepsRead } = queueWithDevice();
    eager(0);
    replay(1);
    eager(2);
    expect(stepsRead()).toEqual([[0], [1], [2]]);
    for (const { arrive } of [...reads].reverse()) arrive();
    for (const step of [0, 1, 2]) expect(await queue.next()).toEqual(measured(step));
    expect(queue.isEmpty).toBe(true);
    expect(await queue.next()).toBeUndefined();
  });

  it("next() waits until the oldest step has arrived", async () => {
    const { queue, eager, reads } = queueWithDevice();
    eager(0);
    eager(1);
    reads[1]!.arrive();
    let taken: MeasuredStep | undefined;
    const taking = queue.next().then((step) => {
      taken = step;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(taken).toBeUndefined();
    reads[0]!.arrive();
    await taking;
    expect(taken).toEqual(measured(0));
  });
});

describe("run-ahead", () => {
  it(`more than ${stepsAhead} outstanding reads make the queue full`, async () => {
    const { queue, eager, reads, taken } = queueWithDevice();
    for (let step = 0; step < stepsAhead; step++) eager(step);
    expect(queue.isFull).toBe(false);
    eager(stepsAhead);
    expect(queue.isFull).toBe(true);
    for (const { arrive } of reads) arrive();
    // The queue is full although the results have arrived: they were not taken.
    await new Promise((resolve) => setImmediate(resolve));
    expect(queue.isFull).toBe(true);
    expect(await taken(1)).toEqual([0]);
    expect([queue.isFull, queue.isEmpty]).toEqual([false, false]);
  });

  it("once a burst has begun to be taken, the queue is full until all of it is taken", async () => {
    const { queue, replay, reads, wait, taken } = queueWithDevice();
    // Two quick bursts of one step, so that the next burst has two.
    for (const step of [0, 1]) {
      replay(step);
      wait(1);
      reads.at(-1)!.arrive();
      await taken(1);
    }
    for (const step of [2, 3]) replay(step);
    expect(queue.isFull).toBe(false);
    reads.at(-1)!.arrive();
    expect(await taken(1)).toEqual([2]);
    expect(queue.isFull).toBe(true);
    expect(await taken(1)).toEqual([3]);
    expect([queue.isFull, queue.isEmpty]).toEqual([false, true]);
  });
});

describe("bursts of replayed steps", () => {
  it("have as many steps as take 5 ms, at most double and at most 16, and shrink at once", async () => {
    const { queue, replay, stepsRead, reads, wait, taken } = queueWithDevice();
    let step = 0;
    /** Replays until a burst is read, which takes a time. Returns the number of its steps. */
    const burst = async (milliseconds: number) => {
      const before = reads.length;
      while (reads.length === before) replay(step++);
      wait(milliseconds);
      reads.at(-1)!.arrive();
      const steps = stepsRead().at(-1)!;
      expect(await taken(steps.length)).toEqual(steps);
      expect(queue.isEmpty).toBe(true);
      return steps.length;
    };
    const bursts = async (times: readonly number[]) => {
      const lengths: number[] = [];
      for (const milliseconds of times) lengths.push(await burst(milliseconds));
      return lengths;
    };
    // The first arrival only starts the clock.
    expect(await bursts([0.1])).toEqual([1]);
    // Each length follows from the time of the burst before.
    expect(await bursts([0.1, 0.2, 0.4, 0.8, 1.6, 0])).toEqual([1, 2, 4, 8, 16, 16]);
    // 16 steps of 1 ms each, then 5 of 1 ms, then 5 of 10 ms.
    expect(await bursts([16, 5, 50])).toEqual([16, 5, 5]);
    expect(await bursts([4, 6, 2.4, 0])).toEqual([1, 1, 1, 2]);
  });

  it("are read early by flush(), as after an exact step", async () => {
    const { queue, replay, stepsRead, reads, wait, taken } = queueWithDevice();
    for (const step of [0, 1]) {
      replay(step);
      wait(0);
      reads.at(-1)!.arrive();
      await taken(1);
    }
    replay(2);
    expect(stepsRead()).toEqual([[0], [1]]);
    expect([queue.isFull, queue.isEmpty]).toEqual([false, false]);
    queue.flush();
    expect(stepsRead()).toEqual([[0], [1], [2]]);
    queue.flush();
    expect(reads).toHaveLength(3);
    reads.at(-1)!.arrive();
    expect(await taken(1)).toEqual([2]);
    expect(queue.isEmpty).toBe(true);
  });

  it("are read and taken before a later eager step, and read by next() if nothing else is left", async () => {
    const { queue, eager, replay, stepsRead, reads, taken } = queueWithDevice();
    for (const step of [0, 1]) {
      replay(step);
      reads.at(-1)!.arrive();
      await taken(1);
    }
    replay(2);
    eager(3);
    // The read of an eager step is enqueued when the step is made.
    expect(stepsRead().slice(2)).toEqual([[3], [2]]);
    replay(4);
    for (const { arrive } of reads) arrive();
    expect(await taken(2)).toEqual([2, 3]);
    const last = queue.next();
    expect(stepsRead().at(-1)).toEqual([4]);
    reads.at(-1)!.arrive();
    expect(await last).toEqual(measured(4));
  });
});

describe("failures", () => {
  it("a failure is reported once, and the steps behind it can be taken", async () => {
    const { queue, eager, reads, taken } = queueWithDevice();
    for (const step of [0, 1, 2]) eager(step);
    reads[0]!.arrive();
    reads[1]!.fail(new Error("step 1 failed"));
    reads[2]!.arrive();
    expect(await taken(1)).toEqual([0]);
    await expect(queue.next()).rejects.toThrow("step 1 failed");
    expect(await taken(1)).toEqual([2]);
    expect(queue.isEmpty).toBe(true);
  });

  it("a failed burst is lost as a whole, and later bursts are read", async () => {
    const { queue, replay, reads, taken } = queueWithDevice();
    for (const step of [0, 1]) {
      replay(step);
      reads.at(-1)!.arrive();
      await taken(1);
    }
    for (const step of [2, 3, 4, 5]) replay(step);
    reads.at(-2)!.fail(new Error("a replay failed"));
    reads.at(-1)!.arrive();
    await expect(queue.next()).rejects.toThrow("a replay failed");
    expect(queue.isFull).toBe(false);
    expect(await taken(2)).toEqual([4, 5]);
  });

  it("too few metrics of a burst are an error", async () => {
    const { queue } = queueWithDevice();
    queue.push({ known: known(0), replays: { metrics: async () => [] } });
    await expect(queue.next()).rejects.toThrow("no item 0");
  });

  it("clear() waits for all reads, also for those of collected steps, and ignores their failures", async () => {
    const { queue, eager, replay, reads, stepsRead, wait, taken } = queueWithDevice();
    for (const step of [0, 1]) {
      replay(step);
      wait(1);
      reads.at(-1)!.arrive();
      await taken(1);
    }
    for (const step of [2, 3]) replay(step);
    reads.at(-1)!.arrive();
    await taken(1);
    eager(4);
    replay(5);
    let cleared = false;
    const clearing = queue.clear().then(() => {
      cleared = true;
    });
    expect(stepsRead().slice(-2)).toEqual([[4], [5]]);
    expect(queue.isEmpty).toBe(true);
    reads.at(-1)!.fail(new Error("step 5 failed"));
    await new Promise((resolve) => setImmediate(resolve));
    expect(cleared).toBe(false);
    reads.at(-2)!.fail(new Error("step 4 failed"));
    await clearing;
    expect(await queue.next()).toBeUndefined();
  });

  it("failures of steps that are never taken do not count as unhandled", async () => {
    const { eager, replay, reads } = queueWithDevice();
    eager(0);
    replay(1);
    for (const { fail } of reads) fail(new Error("nobody takes it"));
    // `afterEach` finds unhandled rejections.
    expect(reads).toHaveLength(2);
  });
});
