// device.capture: calls that cannot be captured throw, and captured work keeps the memory that it uses.
import { describe, expect, test } from "vitest";
import { add, cast, copy, fill, full, type Tensor, tensor, zeros } from "#lib/tensor/index.js";
import { devices, onEveryDevice, open } from "../support/devices.js";
import { expectError } from "../support/errors.js";
import { cycle, type Options, setUp, uba } from "./support/captured.js";
import { bitsByName } from "./support/runs.js";

await onEveryDevice("work that cannot be captured throws", (device) => {
  /** Expects `work` to be refused. The device and an optimizer must then continue as if the capture was never tried. */
  async function refused(work: (setup: ReturnType<typeof setUp>) => void, code: string, ...words: string[]) {
    const options: Options = { lr: uba, clipNorm: 1 };
    const [setup, other] = [setUp(device, "AdamW", options), setUp(device, "AdamW", options)];
    for (const { optimizer } of [setup, other]) {
      optimizer.tabulate();
      optimizer.step();
    }
    await expectError(() => device.capture(() => work(setup)), code, ...words);
    // Refused a second time, after work that was already recorded.
    const before = device.memory();
    const second = () => {
      setup.optimizer.step();
      work(setup);
    };
    await expectError(() => device.capture(second), code, ...words);
    // The collector may have freed what earlier tests left. Nothing may have been added.
    expect(device.memory().tensors).toBeLessThanOrEqual(before.tensors);
    expect(device.memory().allocated).toBeLessThanOrEqual(before.allocated);
    expect(device.capturing).toBeUndefined();
    await device.synchronize();
    for (let step = 0; step < 3; step++) for (const { optimizer } of [setup, other]) optimizer.step();
    expect(await setup.everything()).toEqual(await other.everything());
    // A capture of valid work still succeeds.
    const captures = [setup, other].map(({ optimizer }) => device.capture(() => optimizer.step()));
    for (const capture of captures) capture.replay(2);
    expect(await setup.everything()).toEqual(await other.everything());
    expect(setup.optimizer.iteration).toBe(6);
    for (const capture of captures) capture.dispose();
    setup.dispose();
    other.dispose();
  }

  test("reading a tensor", () =>
    refused(({ parameters }) => void parameters[1]!.read(), "invalid-state", "read cannot be captured"));
  test("writing a tensor", () =>
    refused(
      ({ parameters }) => parameters[1]!.write(new Float32Array(3)),
      "invalid-state",
      "write cannot be captured",
    ));
  test("creating a tensor from data", () =>
    refused(() => void tensor(device, [1, 2]), "invalid-state", "a tensor made from data cannot be captured"));
  test("synchronize", () =>
    refused(() => void device.synchronize(), "invalid-state", "synchronize cannot be captured"));
  test("creating a timer", () =>
    refused(() => void device.time(() => {}), "invalid-state", "a timer cannot be captured"));
  test("trim", () => refused(() => device.trim(), "invalid-state", "trim cannot be captured"));
  test("close", () => refused(() => void device.close(), "invalid-state", "close cannot be captured"));
  test("reading in an asynchronous function, whose promise rejects too", async () => {
    const setup = setUp(device, "SGD", { lr: uba });
    setup.optimizer.tabulate();
    let stats: Promise<unknown> | undefined;
    const work = () => {
      stats = setup.optimizer.stats();
      stats.catch(() => {});
      setup.optimizer.step();
    };
    await expectError(() => device.capture(work), "invalid-state", "read cannot be captured");
    await expectError(() => stats, "invalid-state", "read cannot be captured");
    expect(await setup.optimizer.stats()).toMatchObject({ iteration: 0 });
    setup.dispose();
  });
  test("a capture inside a capture", () =>
    refused(() => void device.capture(() => {}), "invalid-state", "a capture inside a capture cannot be captured"));
  test("an error thrown by the captured function is rethrown unchanged", async () => {
    const error = new Error("mine");
    expect(() =>
      device.capture(() => {
        throw error;
      }),
    ).toThrow(error);
    await device.synchronize();
  });

  test("a replay inside a capture", async () => {
    const x = full(device, [4], 1);
    const capture = device.capture(() => fill(x, 2));
    await refused(() => capture.replay(), "invalid-state", "replay cannot be captured");
    expect(await x.read()).toEqual(Float32Array.of(1, 1, 1, 1));
    capture.replay();
    expect(await x.read()).toEqual(Float32Array.of(2, 2, 2, 2));
    capture.dispose();
  });

  test.each([
    ["a schedule that the host computes", { lr: uba }],
    ["the optimizer state does not exist yet", { lr: 0.1 }],
  ])("an optimizer step: %s", async (_, options) => {
    const [setup, other] = [setUp(device, "AdamW", options), setUp(device, "AdamW", options)];
    const before = await setup.everything();
    const attempt = () => device.capture(() => setup.optimizer.step());
    await expectError(attempt, "invalid-state", "cannot be captured", "call optimizer.tabulate()");
    expect(await setup.everything()).toEqual(before);
    for (let step = 0; step < 3; step++) for (const { optimizer } of [setup, other]) optimizer.step();
    expect(await setup.everything()).toEqual(await other.everything());
    setup.dispose();
    other.dispose();
  });
});

await onEveryDevice("memory of captured work", (device) => {
  test("tensors created inside a capture do not share memory with tensors created outside", async () => {
    const source = full(device, [1000], 1);
    const inside: Tensor[] = [];
    const capture = device.capture(() => {
      // A chain through a tensor that is disposed of before the capture ends.
      const temporary = cast(source, "float64");
      inside.push(cast(temporary, "float32"));
      temporary.dispose();
    });
    // Enough tensors to use up all free blocks of this size.
    const outside = Array.from({ length: 20 }, (_, i) => full(device, [1000], i, i % 2 ? "float64" : "float32"));
    for (const value of [3, 5]) {
      fill(source, value);
      capture.replay();
      expect(await inside[0]!.read()).toEqual(new Float32Array(1000).fill(value));
      for (const [i, one] of outside.entries())
        expect(
          [...(await one.read())].every((x) => x === i),
          `tensor ${i}`,
        ).toBe(true);
    }
    // In the other direction, writes outside the capture do not affect a replay.
    for (const one of outside) fill(one, -1);
    capture.replay();
    expect(await inside[0]!.read()).toEqual(new Float32Array(1000).fill(5));
    capture.dispose();
    for (const one of [source, ...inside, ...outside]) one.dispose();
  });

  test("inputs may be disposed of between capture and replay", async () => {
    const [source, target] = [full(device, [1000], 7), full(device, [1000], 0)];
    const capture = device.capture(() => copy(target, source));
    source.dispose();
    const others = Array.from({ length: 20 }, (_, i) => full(device, [1000], 100 + i));
    capture.replay();
    expect(await target.read()).toEqual(new Float32Array(1000).fill(7));
    for (const one of [target, ...others]) one.dispose();
    // The result cannot be read any more, but the replay must do no harm.
    capture.replay(3);
    await device.synchronize();
    capture.dispose();
  });

  test("replays continue after an optimizer and its gradients are disposed of", async () => {
    const kept = setUp(device, "AdamW", { lr: uba });
    const gone = setUp(device, "AdamW", { lr: uba });
    const captures = [kept, gone].map(({ optimizer }) => {
      optimizer.tabulate();
      return device.capture(() => optimizer.step());
    });
    gone.optimizer.dispose();
    for (const parameter of gone.parameters) parameter.zeroGrad();
    const others = Array.from({ length: 20 }, (_, i) => full(device, [1025], i));
    for (const capture of captures) capture.replay(5);
    const bitsOf = ({ parameters }: typeof kept) => bitsByName(parameters.map((one) => [one.name, one] as const));
    expect(await bitsOf(gone)).toEqual(await bitsOf(kept));
    for (const one of [...captures, ...others]) one.dispose();
    kept.dispose();
    for (const parameter of gone.parameters) parameter.dispose();
  });

  test("a tensor created inside a capture outlives the capture", async () => {
    const source = full(device, [100], 4);
    let made: Tensor | undefined;
    const capture = device.capture(() => {
      made = cast(source, "float64");
    });
    capture.replay();
    capture.dispose();
    const others = Array.from({ length: 20 }, (_, i) => full(device, [100], i, "float64"));
    expect(await made!.read()).toEqual(new Float64Array(100).fill(4));
    for (const one of [source, made!, ...others]) one.dispose();
  });

  test("a replay after dispose throws and counts no step", async () => {
    const setup = setUp(device, "SGD", { lr: uba });
    setup.optimizer.tabulate();
    const capture = device.capture(() => setup.optimizer.step());
    capture.replay();
    capture.dispose();
    await expectError(() => capture.replay(), "invalid-state", "replay", "disposed");
    for (const times of [-1, 0.5, Number.NaN, "1"])
      await expectError(() => device.capture(() => {}).replay(times as number), "invalid-argument", "times");
    expect(setup.optimizer.iteration).toBe(1);
    expect((await setup.optimizer.stats()).iteration).toBe(1);
    setup.dispose();
  });

  test("an empty capture can be replayed any number of times", async () => {
    const capture = device.capture(() => {});
    capture.replay(1000);
    await device.synchronize();
    capture.dispose();
  });

  test("two captures can be used on one device", async () => {
    const [a, b] = [setUp(device, "AdamW", { lr: uba }), setUp(device, "Lion", { lr: cycle })];
    const [eagerA, eagerB] = [setUp(device, "AdamW", { lr: uba }), setUp(device, "Lion", { lr: cycle })];
    const captures = [a, b].map(({ optimizer }) => {
      optimizer.tabulate();
      return device.capture(() => optimizer.step());
    });
    for (let i = 0; i < 10; i++) {
      captures[0]!.replay(2);
      captures[1]!.replay();
    }
    for (let i = 0; i < 20; i++) eagerA.optimizer.step();
    for (let i = 0; i < 10; i++) eagerB.optimizer.step();
    expect(await a.everything()).toEqual(await eagerA.everything());
    expect(await b.everything()).toEqual(await eagerB.everything());
    captures[0]!.dispose();
    captures[1]!.replay();
    eagerB.optimizer.step();
    expect(await b.everything()).toEqual(await eagerB.everything());
    captures[1]!.dispose();
    for (const one of [a, b, eagerA, eagerB]) one.dispose();
  });
});

describe.each(devices)("memory of captured work on a separate device ($label)", (under) => {
  // A separate device, so that tensors of other tests that await collection are not counted.
  test("dispose releases once the memory that only the captured work held", async () => {
    const device = await open(under);
    device.trim();
    const before = device.memory();
    const source = full(device, [10_000], 1);
    const made: Tensor[] = [];
    const capture = device.capture(() => {
      made.push(cast(source, "float64"));
      made.push(cast(source, "float64"));
    });
    for (const one of [source, ...made]) one.dispose();
    capture.replay(2);
    // The inputs and the results are still held, although no handle to them is left.
    const held = device.memory();
    expect(held.tensors).toBe(before.tensors + 1);
    expect(held.allocated - before.allocated).toBeGreaterThanOrEqual(40_000 + 2 * 80_000);
    capture.dispose();
    const after = device.memory();
    expect(after).toMatchObject({ tensors: before.tensors, allocated: before.allocated });
    expect(after.cached - before.cached).toBeGreaterThanOrEqual(40_000 + 2 * 80_000);
    capture.dispose();
    expect(device.memory()).toEqual(after);
    device.trim();
    expect(device.memory()).toMatchObject({ allocated: before.allocated, cached: 0 });
    await device.synchronize();
    await device.close();
  });

  test("memory disposed of inside a capture is reused only by later tensors of the same capture", async () => {
    const device = await open(under);
    const source = full(device, [10_000], 1);
    device.trim();
    const before = device.memory();
    let last: Tensor | undefined;
    const capture = device.capture(() => {
      for (let i = 0; i < 20; i++) {
        const next = add(last ?? source, 1);
        last?.dispose();
        last = next;
      }
    });
    // Two tensors of 40 kB alternate.
    const { allocated, tensors } = device.memory();
    expect(allocated - before.allocated).toBeLessThan(3 * 41_000);
    expect(tensors).toBe(before.tensors + 1);
    const others = Array.from({ length: 4 }, (_, i) => full(device, [10_000], -i));
    capture.replay(3);
    expect((await last!.read()).every((value) => value === 21)).toBe(true);
    for (const [i, other] of others.entries())
      expect(
        (await other.read()).every((value) => value === -i),
        `tensor ${i}`,
      ).toBe(true);
    source.write(new Float32Array(10_000).fill(5));
    capture.replay();
    expect((await last!.read()).every((value) => value === 25)).toBe(true);
    capture.dispose();
    expect(await last!.read()).toEqual(new Float32Array(10_000).fill(25));
    await device.close();
  });

  test("many captures leak no memory", async () => {
    const device = await open(under);
    const setup = setUp(device, "AdamW", { lr: uba, clipNorm: 1 });
    setup.optimizer.tabulate();
    const cycleOnce = () => {
      const capture = device.capture(() => setup.optimizer.step());
      capture.replay(2);
      capture.dispose();
    };
    cycleOnce();
    const before = device.memory();
    for (let i = 0; i < 20; i++) cycleOnce();
    expect(device.memory()).toEqual(before);
    expect((await setup.optimizer.stats()).iteration).toBe(42);
    setup.dispose();
    await device.close();
  });

  test.each(["float32", "bfloat16"] as const)(
    "a replay after the optimizer was disposed of allocates nothing (%s)",
    async (dtype) => {
      const device = await open(under);
      const before = device.memory().tensors;
      const setup = setUp(device, "AdamW", { lr: uba }, dtype);
      setup.optimizer.tabulate();
      const capture = device.capture(() => setup.optimizer.step());
      setup.dispose();
      const held = device.memory();
      capture.replay(3);
      await device.synchronize();
      expect(device.memory()).toMatchObject({ tensors: held.tensors, allocated: held.allocated });
      capture.dispose();
      // Temporary tensors of tabulate are released too.
      expect(device.memory().tensors).toBe(before);
      await device.close();
    },
  );

  test("a capture that runs short of memory releases cached memory first, and leaves no trace if it fails", async () => {
    const device = await open(under, { memoryLimit: 10e6 });
    const x = full(device, [500_000], 3);
    full(device, [1_400_000], 1).dispose();
    // 4 MB, which fit only after the 5.6 MB in the cache are released.
    let made: Tensor | undefined;
    const capture = device.capture(() => {
      made = cast(x, "float64");
    });
    capture.replay(2);
    expect((await made!.read())[499_999]).toBe(3);
    capture.dispose();
    made!.dispose();
    const before = device.memory();
    const tooMuch = () => {
      cast(x, "float64").dispose();
      zeros(device, [5_000_000]);
    };
    await expectError(() => device.capture(tooMuch), "out-of-memory", "memoryLimit is 10.0 MB");
    expect(device.memory()).toMatchObject({ tensors: before.tensors, allocated: before.allocated });
    await device.synchronize();
    const again = device.capture(() => fill(x, 4));
    again.replay();
    expect((await x.read())[0]).toBe(4);
    again.dispose();
    await device.close();
  });

  test("one device captures while another one works", async () => {
    const [device, other] = [await open(under), await open(under)];
    const [captured, eager] = [setUp(device, "AdamW", { lr: uba }), setUp(other, "AdamW", { lr: uba })];
    captured.optimizer.tabulate();
    const reads: Promise<unknown>[] = [];
    const capture = device.capture(() => {
      // Calls that the capturing device refuses are valid on the other device.
      eager.optimizer.step();
      reads.push(eager.parameters[1]!.read(), other.synchronize());
      captured.optimizer.step();
      tensor(other, [1, 2, 3]).dispose();
      eager.optimizer.step();
    });
    await Promise.all(reads);
    expect(eager.optimizer.iteration).toBe(2);
    capture.replay(2);
    expect(await captured.everything()).toEqual(await eager.everything());
    const inner = device.capture(() => {
      const capturedToo = other.capture(() => eager.optimizer.zeroGrad());
      capturedToo.dispose();
    });
    inner.dispose();
    await Promise.all([device.close(), other.close()]);
    await expectError(() => capture.replay(), "invalid-state", "closed");
    capture.dispose();
  });
});
