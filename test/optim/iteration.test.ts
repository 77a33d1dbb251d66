// Loading a state restores the position in the schedule, whether the host or only the device knows it. The bits are
// those of an uninterrupted run.
import { expect, test } from "vitest";
import type { Device } from "#lib/native/index.js";
import { AdamW, type LearningRate, SGD } from "#lib/optim/index.js";
import * as schedule from "#lib/schedule/index.js";
import { copy, type Tensor, tensor } from "#lib/tensor/index.js";
import { bits } from "../support/compare.js";
import { onEveryDevice } from "../support/devices.js";
import { expectError } from "../support/errors.js";
import { gradientValues, parameterOf, setGradient } from "./support/runs.js";

const budget = 9;
const stop = 4;
const rates: { name: string; lr: LearningRate }[] = [
  { name: "a number", lr: 0.05 },
  { name: "uba", lr: schedule.uba({ budget, maxLr: 0.05, warmup: 2 }) },
  { name: "one-cycle", lr: schedule.oneCycle({ budget, maxLr: 0.05, cycleMomentum: true }) },
  { name: "a function", lr: (step) => 0.05 / (1 + step) },
];

/** How a state is passed from one optimizer to another. */
const ways: { name: string; move: (state: ReadonlyMap<string, Tensor>) => Promise<ReadonlyMap<string, Tensor>> }[] = [
  { name: "the live state", move: async (state) => state },
  {
    name: "values of the host",
    move: async (state) => {
      const entries = [...state].map(
        async ([name, one]) => [name, tensor(one.device, await one.read(), one.shape)] as const,
      );
      return new Map(await Promise.all(entries));
    },
  },
  // The host has no values for these tensors, because the device has overwritten the uploaded ones.
  {
    name: "copies on the device",
    move: async (state) => new Map([...state].map(([name, one]) => [name, copyOf(one)] as const)),
  },
];

function copyOf(one: Tensor): Tensor {
  const Values = one.dtype === "float64" ? Float64Array : one.dtype === "int32" ? Int32Array : Float32Array;
  const zeros = tensor(one.device, new Values(one.size));
  const result = zeros.reshape([...one.shape]);
  copy(result, one);
  return result;
}

function setUp(device: Device, kind: "AdamW" | "SGD", lr: LearningRate, values?: Float32Array) {
  const parameter = parameterOf(device, values ?? 33, "p");
  const optimizer = kind === "AdamW" ? new AdamW([parameter], { lr }) : new SGD([parameter], { lr, momentum: 0.9 });
  const step = (from: number, to: number) => {
    for (let k = from; k < to; k++) {
      setGradient(parameter, gradientValues(33, k));
      optimizer.step();
    }
  };
  const everything = async () => {
    const tensors = [parameter, ...optimizer.stateDict().values()];
    return (await Promise.all(tensors.map((each) => each.read()))).map((each) => bits(each).toString("hex"));
  };
  return { parameter, optimizer, step, everything };
}

const kinds = ["AdamW", "SGD"] as const;

await onEveryDevice("a loaded state", (device) => {
  for (const { name: what, lr } of rates)
    for (const { name: how, move } of ways)
      for (const kind of kinds)
        test(`continues the schedule: ${kind} with ${what}, ${how}`, async () => {
          const whole = setUp(device, kind, lr);
          whole.step(0, budget);
          const first = setUp(device, kind, lr);
          first.step(0, stop);
          const values = (await first.parameter.read()) as Float32Array;
          for (const isAwaited of [true, false]) {
            const second = setUp(device, kind, lr, values);
            const loaded = second.optimizer.loadStateDict(await move(first.optimizer.stateDict()));
            if (isAwaited) await loaded;
            // A function without a budget cannot be tabulated, and a call does not wait.
            const isLost = !isAwaited && how === "copies on the device" && what === "a function";
            if (isLost) {
              await expectError(() => second.step(stop, stop + 1), "invalid-state", "await loadStateDict");
              await loaded;
            }
            second.step(stop, budget);
            await loaded;
            expect(second.optimizer.iteration).toBe(budget);
            expect(await second.everything()).toEqual(await whole.everything());
          }
        });

  test.each(ways)("sets the iteration if it is known: $name", async ({ name, move }) => {
    const first = setUp(device, "AdamW", rates[1]!.lr);
    first.step(0, stop);
    const second = setUp(device, "AdamW", rates[1]!.lr);
    const loaded = second.optimizer.loadStateDict(await move(first.optimizer.stateDict()));
    if (name === "copies on the device") {
      await expectError(() => second.optimizer.iteration, "invalid-state", "iteration", "await loadStateDict");
      await expectError(() => second.optimizer.learningRates(), "invalid-state", "await loadStateDict");
    } else expect(second.optimizer.iteration).toBe(stop);
    await loaded;
    expect(second.optimizer.iteration).toBe(stop);
    expect(second.optimizer.learningRates()).toEqual(first.optimizer.learningRates());
  });

  test("is replaced by a later state or a later iteration number", async () => {
    const lr = rates[1]!.lr;
    const [early, late] = [setUp(device, "AdamW", lr), setUp(device, "AdamW", lr)];
    early.step(0, 2);
    late.step(0, 6);
    const second = setUp(device, "AdamW", lr);
    const states = [late, early].map(
      ({ optimizer }) => new Map([...optimizer.stateDict()].map(([k, v]) => [k, copyOf(v)])),
    );
    await Promise.all(states.map((state) => second.optimizer.loadStateDict(state)));
    expect(second.optimizer.iteration).toBe(2);
    const loaded = second.optimizer.loadStateDict(states[0]!);
    second.optimizer.iteration = 3;
    await loaded;
    expect(second.optimizer.iteration).toBe(3);
  });

  test("continues the schedule in a captured step too", async () => {
    const { lr } = rates[1]!;
    const whole = setUp(device, "AdamW", lr);
    const gradient = gradientValues(33, 0);
    const steps = (one: typeof whole, count: number) => {
      for (let k = 0; k < count; k++) {
        setGradient(one.parameter, gradient);
        one.optimizer.step();
      }
    };
    steps(whole, budget);
    const first = setUp(device, "AdamW", lr);
    steps(first, stop);
    const second = setUp(device, "AdamW", lr, (await first.parameter.read()) as Float32Array);
    setGradient(second.parameter, gradient);
    second.optimizer.tabulate();
    const capture = device.capture(() => second.optimizer.step());
    const loaded = second.optimizer.loadStateDict(
      new Map([...first.optimizer.stateDict()].map(([name, one]) => [name, copyOf(one)])),
    );
    capture.replay(budget - stop);
    await loaded;
    expect(second.optimizer.iteration).toBe(budget);
    expect(await second.everything()).toEqual(await whole.everything());
    capture.dispose();
  });
});

await onEveryDevice("a learning-rate function", (device) => {
  const lr = (step: number) => 0.05 / (1 + step);

  test("is tabulated for a given number of steps, with the same bits", async () => {
    const [written, tabulated] = [setUp(device, "AdamW", lr), setUp(device, "AdamW", lr)];
    await expectError(() => tabulated.optimizer.tabulate(), "invalid-argument", "steps", "function without a budget");
    tabulated.optimizer.tabulate(budget);
    for (const each of [written, tabulated]) each.step(0, budget);
    expect(await tabulated.everything()).toEqual(await written.everything());
    // The table ends here but the function does not.
    await expectError(
      () => tabulated.step(budget, budget + 1),
      "invalid-state",
      `step ${budget}`,
      `tabulate(${budget})`,
    );
    written.step(budget, budget + 1);
  });

  test("may have a budget and a momentum", async () => {
    const withBudget = Object.assign((step: number) => lr(step), {
      budget,
      momentum: (step: number) => 0.9 - step / 100,
    });
    const [written, tabulated] = [setUp(device, "SGD", withBudget), setUp(device, "SGD", withBudget)];
    tabulated.optimizer.tabulate();
    for (const each of [written, tabulated]) each.step(0, budget);
    expect(await tabulated.everything()).toEqual(await written.everything());
  });

  test("is refused, without a change, if it returns another rate than when it was tabulated", async () => {
    let rate = 0.05;
    const { parameter, optimizer, step, everything } = setUp(device, "AdamW", () => rate);
    optimizer.tabulate(budget);
    step(0, 2);
    setGradient(parameter, gradientValues(33, 2));
    const capture = device.capture(() => optimizer.step());
    const before = await everything();
    rate = 0.025;
    for (const work of [() => optimizer.step(), () => capture.replay()])
      await expectError(work, "invalid-state", "step 2", "0.025", "0.05");
    expect(await everything()).toEqual(before);
    rate = 0.05;
    capture.replay();
    expect(optimizer.iteration).toBe(3);
    capture.dispose();
  });

  test("must return a valid rate", async () => {
    for (const rate of [Number.NaN, -1, Number.POSITIVE_INFINITY]) {
      const { step, optimizer } = setUp(device, "AdamW", (k) => (k === 3 ? rate : 0.1));
      step(0, 3);
      await expectError(() => step(3, 4), "invalid-argument", "lr", "step 3", String(rate));
      await expectError(() => optimizer.tabulate(budget), "invalid-argument", "lr", "step 3", String(rate));
    }
  });

  test("is saved in the optimizer's JSON as custom, or as its own JSON", () => {
    const of = (rate: LearningRate) =>
      JSON.stringify(
        new SGD([parameterOf(device, 2, "a"), parameterOf(device, 2, "b")], {
          lr: 0.1,
          groups: [{ where: (name) => name === "b", lr: rate }],
        }),
      );
    expect(JSON.parse(of(lr)).groups[1].lr).toEqual({ name: "custom" });
    expect(JSON.parse(of(Object.assign((k: number) => k, { toJSON: () => ({ mine: 1 }) }))).groups[1].lr).toEqual({
      mine: 1,
    });
  });
});
