// Captured steps are recorded once and replayed without the host. A replay has the same result as the call, to the bit.
import { expect, test } from "vitest";
import { Parameter } from "#lib/nn/index.js";
import { AdamW, SGD } from "#lib/optim/index.js";
import { cosine } from "#lib/schedule/index.js";
import { tensor } from "#lib/tensor/index.js";
import { onEveryDevice } from "../support/devices.js";
import { expectError } from "../support/errors.js";
import { budget, cycle, type Options, setUp, uba } from "./support/captured.js";
import type { Kind } from "./support/reference.js";
import { bitsByName, gradientValues, parameterOf, scheduleOf, setGradient } from "./support/runs.js";

const cases: { kind: Kind; options: Options; dtype?: "bfloat16" }[] = [
  { kind: "SGD", options: { lr: uba } },
  { kind: "SGD", options: { lr: cycle, nesterov: true, momentum: 0.9, weightDecay: 0.01, clipNorm: 1 } },
  { kind: "Adam", options: { lr: cycle, amsgrad: true } },
  { kind: "AdamW", options: { lr: uba, clipNorm: 1, nonFinite: "skip", momentType: "bfloat16" } },
  { kind: "AdamW", options: { lr: 0.01, gradientScale: 0.5 } },
  { kind: "AdamW", options: { lr: uba, seed: 5 }, dtype: "bfloat16" },
  { kind: "Lion", options: { lr: uba, masterWeights: false, seed: 5 }, dtype: "bfloat16" },
];

await onEveryDevice("a captured step", (device) => {
  test.each(cases)(
    "gives the bits of 1000 eager steps in 1000 replays: $kind $options $dtype",
    async ({ kind, options, dtype }) => {
      const eager = setUp(device, kind, options, dtype);
      for (let step = 0; step < budget; step++) eager.optimizer.step();

      const captured = setUp(device, kind, options, dtype);
      captured.optimizer.tabulate();
      const capture = device.capture(() => captured.optimizer.step());
      // The step is recorded but not executed.
      expect(captured.optimizer.iteration).toBe(0);
      expect(await captured.optimizer.stats()).toMatchObject({ iteration: 0, updates: 0 });
      let done = 0;
      for (const times of [1, 0, 2, 97, 400, 500]) {
        capture.replay(times);
        done += times;
        expect(captured.optimizer.iteration).toBe(done);
      }
      expect(await captured.everything()).toEqual(await eager.everything());
      capture.dispose();
      eager.dispose();
      captured.dispose();
    },
  );

  test.each(cases)(
    "gives the same bits with a tabulated schedule as with rates written at each step: $kind $options",
    async (one) => {
      const written = setUp(device, one.kind, one.options, one.dtype);
      const tabulated = setUp(device, one.kind, one.options, one.dtype);
      tabulated.optimizer.tabulate();
      for (let step = 0; step < 40; step++) {
        written.optimizer.step();
        tabulated.optimizer.step();
        expect(tabulated.optimizer.learningRates()).toEqual(written.optimizer.learningRates());
      }
      expect(await tabulated.everything()).toEqual(await written.everything());
      written.dispose();
      tabulated.dispose();
    },
  );

  test("uses the last rate of the peers' convention beyond the budget, tabulated or not", async () => {
    const lr = cosine({ budget: 20, maxLr: 0.1, minLr: 0.01, convention: "peers" });
    const options = { lr };
    const written = setUp(device, "AdamW", options);
    const tabulated = setUp(device, "AdamW", options);
    tabulated.optimizer.tabulate();
    for (let step = 0; step < 25; step++) {
      written.optimizer.step();
      tabulated.optimizer.step();
    }
    expect((await tabulated.optimizer.stats()).learningRates).toEqual([0.01]);
    expect(await tabulated.everything()).toEqual(await written.everything());
    written.dispose();
    tabulated.dispose();
  });

  test("keeps the last rate beyond the end of the table", async () => {
    const lr = scheduleOf([0.5, 0.25, 0.125]);
    const { optimizer, parameters, dispose } = setUp(device, "SGD", { lr });
    const probe = parameters[1]!;
    probe.write(new Float32Array(3));
    probe.grad!.write(Float32Array.of(-1, -1, -1));
    optimizer.tabulate();
    const capture = device.capture(() => optimizer.step());
    const seen: number[] = [];
    for (let step = 0; step < 6; step++) {
      capture.replay();
      seen.push((await probe.read())[0]!);
      expect((await optimizer.stats()).learningRates).toEqual([[0.5, 0.25, 0.125][Math.min(step, 2)]]);
    }
    expect(seen).toEqual([0.5, 0.75, 0.875, 1, 1.125, 1.25]);
    capture.dispose();
    dispose();
  });

  test("accepts a table shorter than the budget and refuses a number of steps that is not a positive integer", async () => {
    const { optimizer, dispose } = setUp(device, "SGD", { lr: scheduleOf([0.5, 0.25, 0.125]) });
    for (const steps of [0, -1, 1.5, Number.NaN])
      await expectError(() => optimizer.tabulate(steps), "invalid-argument", "steps: expected");
    optimizer.tabulate(2);
    const capture = device.capture(() => optimizer.step());
    capture.replay(3);
    expect((await optimizer.stats()).learningRates).toEqual([0.25]);
    capture.dispose();
    dispose();
  });

  test("uses separate rates for each group", async () => {
    const make2 = () => {
      const parameters = [parameterOf(device, 9, "a"), parameterOf(device, 17, "b", 2)];
      for (const [i, one] of parameters.entries()) setGradient(one, gradientValues(one.size, i));
      const groups = [{ where: (name: string) => name === "b", lr: cycle, weightDecay: 0.5 }];
      return { parameters, optimizer: new AdamW(parameters, { lr: uba, groups }) };
    };
    const [eager, captured] = [make2(), make2()];
    for (let step = 0; step < 100; step++) eager.optimizer.step();
    captured.optimizer.tabulate();
    const capture = device.capture(() => captured.optimizer.step());
    capture.replay(100);
    const bitsOf = ({ parameters }: typeof eager) => bitsByName(parameters.map((one) => [one.name, one] as const));
    expect(await bitsOf(captured)).toEqual(await bitsOf(eager));
    expect(await captured.optimizer.stats()).toEqual(await eager.optimizer.stats());
    capture.dispose();
  });

  test.each([cases[3]!, cases[5]!])("reads gradients that are written between replays: $kind $options", async (one) => {
    const eager = setUp(device, one.kind, one.options, one.dtype);
    const captured = setUp(device, one.kind, one.options, one.dtype);
    captured.optimizer.tabulate();
    const capture = device.capture(() => captured.optimizer.step());
    for (let step = 0; step < 12; step++) {
      eager.rewriteGradients(step);
      eager.optimizer.step();
      captured.rewriteGradients(step);
      capture.replay();
    }
    expect(await captured.everything()).toEqual(await eager.everything());
    capture.dispose();
    eager.dispose();
    captured.dispose();
  });

  test("can alternate with eager steps", async () => {
    const { kind, options } = cases[3]!;
    const eager = setUp(device, kind, options);
    for (let step = 0; step < 30; step++) eager.optimizer.step();
    const mixed = setUp(device, kind, options);
    mixed.optimizer.tabulate();
    mixed.optimizer.step();
    const capture = device.capture(() => mixed.optimizer.step());
    capture.replay(10);
    for (let step = 0; step < 7; step++) mixed.optimizer.step();
    capture.replay(12);
    expect(await mixed.everything()).toEqual(await eager.everything());
    capture.dispose();
    eager.dispose();
    mixed.dispose();
  });

  test("counts every step of a capture that contains several", async () => {
    const { kind, options } = cases[3]!;
    const eager = setUp(device, kind, options);
    for (let step = 0; step < 12; step++) eager.optimizer.step();
    const captured = setUp(device, kind, options);
    captured.optimizer.tabulate();
    const capture = device.capture(() => {
      for (let step = 0; step < 3; step++) captured.optimizer.step();
    });
    capture.replay(4);
    expect(await captured.everything()).toEqual(await eager.everything());
    capture.dispose();
    eager.dispose();
    captured.dispose();
  });

  test("needs no tabulate without a schedule if an eager step comes first", async () => {
    const options = { lr: 0.1, momentum: 0.9 };
    const eager = setUp(device, "SGD", options);
    const captured = setUp(device, "SGD", options);
    for (let step = 0; step < 5; step++) eager.optimizer.step();
    captured.optimizer.step();
    const capture = device.capture(() => captured.optimizer.step());
    capture.replay(4);
    expect(await captured.everything()).toEqual(await eager.everything());
    capture.dispose();
    eager.dispose();
    captured.dispose();
  });

  test("skips a non-finite step in a replay too", async () => {
    const { optimizer, parameters, everything, dispose } = setUp(device, "AdamW", { lr: uba, nonFinite: "skip" });
    optimizer.tabulate();
    const capture = device.capture(() => optimizer.step());
    capture.replay(3);
    const { stats: _, state: __, iteration: ___, ...before } = (await everything()) as Record<string, unknown>;
    parameters[1]!.grad!.write(Float32Array.of(1, Number.NaN, 1));
    capture.replay(2);
    expect(await optimizer.stats()).toMatchObject({ iteration: 5, updates: 3, skipped: 2 });
    expect(await everything()).toMatchObject(before);
    capture.dispose();
    dispose();
  });

  test("includes the gradientScale of a single step", async () => {
    const { optimizer, parameters, dispose } = setUp(device, "SGD", { lr: 1 });
    parameters[1]!.write(new Float32Array(3));
    parameters[1]!.grad!.write(Float32Array.of(-1, -2, -3));
    optimizer.tabulate();
    const capture = device.capture(() => optimizer.step({ gradientScale: 0.5 }));
    capture.replay(4);
    expect(await parameters[1]!.read()).toEqual(Float32Array.of(2, 4, 6));
    capture.dispose();
    dispose();
  });
});

// With master weights the parameters are copies. The host's check for written parameters, which an eager step makes,
// must not become part of a capture.
await onEveryDevice("a parameter with master weights that the program writes", (device) => {
  const options = { lr: 0.01, momentum: 0.9 };
  const setUpOne = () => {
    const parameter = new Parameter(tensor(device, Float32Array.of(1, 2, 3), [3], { dtype: "bfloat16" }));
    setGradient(parameter, Float32Array.of(0.001, 0.002, 0.003));
    return { parameter, optimizer: new SGD([parameter], options) };
  };
  const written = Uint16Array.of(0x4000, 0x4040, 0x4080);

  test("updates its master weights once if written before the capture, and keeps their digits in replays", async () => {
    const [eager, captured] = [setUpOne(), setUpOne()];
    eager.parameter.write(written);
    for (let step = 0; step < 50; step++) eager.optimizer.step();
    captured.optimizer.tabulate();
    captured.parameter.write(written);
    const attempt = () => device.capture(() => captured.optimizer.step());
    await expectError(attempt, "invalid-state", "cannot be captured", "call optimizer.tabulate()");
    captured.optimizer.tabulate();
    const capture = attempt();
    capture.replay(50);
    expect(await bitsByName(captured.optimizer.stateDict())).toEqual(await bitsByName(eager.optimizer.stateDict()));
    expect(await captured.parameter.read()).toEqual(await eager.parameter.read());
    capture.dispose();
  });

  test("is read by the next replay if written between replays", async () => {
    const [eager, captured] = [setUpOne(), setUpOne()];
    captured.optimizer.tabulate();
    const capture = device.capture(() => captured.optimizer.step());
    eager.optimizer.step();
    capture.replay();
    for (const { parameter } of [eager, captured]) parameter.write(written);
    eager.optimizer.step();
    capture.replay();
    expect(await captured.parameter.read()).toEqual(await eager.parameter.read());
    capture.dispose();
  });
});
