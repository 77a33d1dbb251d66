// An AbortSignal ends a run like stop(), and a pass over data before its next batch. No listener is left behind.
import { getEventListeners } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as lib from "#lib/index.js";
import { expectError } from "../support/errors.js";

const { data, nn } = lib;
let device: lib.Device;
beforeAll(async () => {
  device = await lib.openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

const numbers = (count: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(i * i));
const set = data.fromArrays({
  inputs: numbers(120),
  labels: Int32Array.from({ length: 40 }, (_, i) => i % 2),
  shape: [3],
});
const held = () => set.batches({ size: 10, shuffle: false });
const listeners = (signal: AbortSignal) => getEventListeners(signal, "abort").length;

function trainer() {
  const model = new nn.Linear(3, 2, { device, seeds: new nn.Seeds(1) });
  const optimizer = new lib.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
  return new lib.Trainer({
    model,
    optimizer,
    loss: nn.crossEntropy,
    data: set.batches({ size: 8, seed: 3 }),
    budget: 30,
  });
}

async function lossesOf(run: AsyncIterable<lib.StepRecord>, each: (step: number) => void = () => {}) {
  const losses: number[] = [];
  for await (const { step, loss } of run) {
    losses.push(loss);
    each(step);
  }
  return losses;
}

describe("Trainer.run", () => {
  test.each([{}, { capture: true }, { runAhead: true }, { capture: true, runAhead: true }])(
    "ends after the record at which it is aborted, and continues with the same bits: %o",
    async (options) => {
      const whole = await lossesOf(trainer().run());
      const tested = trainer();
      const controller = new AbortController();
      const { signal } = controller;
      const first = await lossesOf(tested.run({ ...options, signal }), (step) => step === 6 && controller.abort());
      expect(first.length).toBeGreaterThanOrEqual(7);
      expect(first.length).toBeLessThan(30);
      expect(tested.step).toBe(first.length);
      expect(listeners(signal)).toBe(0);
      const rest = await lossesOf(tested.run(options));
      expect([...first, ...rest]).toEqual(whole);
    },
  );

  test("makes no step if the signal is already aborted", async () => {
    const tested = trainer();
    const signal = AbortSignal.abort(new Error("before"));
    expect(await lossesOf(tested.run({ signal }))).toEqual([]);
    expect([tested.step, listeners(signal)]).toEqual([0, 0]);
    expect(await lossesOf(tested.run())).toHaveLength(30);
  });

  test.each([
    ["to its end", async (run: AsyncGenerator<lib.StepRecord>) => void (await lossesOf(run))],
    [
      "left by break",
      async (run: AsyncGenerator<lib.StepRecord>) => {
        await run.next();
        await run.return(undefined);
      },
    ],
    ["never begun", async () => {}],
  ])("removes its listener from a signal that is never aborted: %s", async (_, use) => {
    const { signal } = new AbortController();
    await use(trainer().run({ signal }));
    expect(listeners(signal)).toBe(0);
  });

  test("removes its listener if the run fails", async () => {
    const { signal } = new AbortController();
    const tested = trainer();
    const failing = tested.run({
      signal,
      onStep: () => {
        throw new Error("of the callback");
      },
    });
    await expect(lossesOf(failing)).rejects.toThrow("of the callback");
    expect(listeners(signal)).toBe(0);
  });

  test("finishes an evaluation that has begun, so that a resumed run compares with it", async () => {
    const controller = new AbortController();
    const tested = trainer();
    const evaluateEvery = { steps: 5, data: held(), onProgress: () => controller.abort() };
    const records: lib.StepRecord[] = [];
    for await (const record of tested.run({ signal: controller.signal, evaluateEvery })) records.push(record);
    expect(records).toHaveLength(5);
    expect(records.at(-1)?.evaluation?.items).toBe(40);
    expect(tested.best?.step).toBe(5);
  });

  test("refuses a value that is not a signal", async () => {
    const tested = trainer();
    for (const signal of [true, {}, new AbortController()])
      await expectError(
        () => tested.run({ signal: signal as never }),
        "invalid-argument",
        "run.signal",
        "an AbortSignal",
      );
  });
});

describe("evaluate", () => {
  const ways: [string, (options: lib.PassOptions) => Promise<lib.Evaluation>, () => lib.nn.Module][] = [];
  beforeAll(() => {
    const tested = trainer();
    const model = new nn.Linear(3, 2, { device, seeds: new nn.Seeds(1) });
    const free = { model, device, loss: nn.crossEntropy, prepare: (raw: lib.Tensor) => raw };
    ways.push(
      ["a trainer's", (options) => tested.evaluate(held(), options), () => model],
      ["the function", (options) => lib.evaluate(held(), { ...free, ...options }), () => model],
    );
  });

  test("rejects with the signal's reason before the next batch, and restores the model's mode", async () => {
    for (const [name, evaluate, model] of ways) {
      const controller = new AbortController();
      const { signal } = controller;
      const reason = new Error("enough");
      const done: number[] = [];
      model().train();
      const onProgress = (items: number) => {
        done.push(items);
        if (items === 20) controller.abort(reason);
      };
      await expect(evaluate({ signal, onProgress }), name).rejects.toBe(reason);
      expect(done).toEqual([10, 20]);
      expect([model().training, listeners(signal)]).toEqual([true, 0]);
      expect((await evaluate({})).items).toBe(40);
    }
  });

  test("evaluates nothing if the signal is already aborted", async () => {
    for (const [name, evaluate] of ways) {
      const onProgress = () => expect.unreachable();
      await expect(evaluate({ signal: AbortSignal.abort("stop"), onProgress }), name).rejects.toBe("stop");
    }
  });

  test("returns the result of a complete pass, even if the signal is aborted at the last batch", async () => {
    for (const [name, evaluate] of ways) {
      const controller = new AbortController();
      const onProgress = (items: number) => items === 40 && controller.abort();
      expect((await evaluate({ signal: controller.signal, onProgress })).items, name).toBe(40);
    }
  });

  test("refuses a value that is not a signal, and unknown options", async () => {
    for (const [, evaluate] of ways) {
      await expectError(() => evaluate({ signal: 1 as never }), "invalid-argument", "signal", "an AbortSignal");
      await expectError(() => evaluate({ signals: 1 } as never), "invalid-argument", "signal");
    }
  });
});
