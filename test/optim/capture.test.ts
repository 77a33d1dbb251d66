// Captured work as such: what cannot be repeated is refused by name, and whose the memory is that it uses.
import { describe, expect, test } from "vitest";
import { add, cast, copy, fill, full, type Tensor, tensor, zeros } from "#lib/tensor/index.js";
import { devices, onEveryDevice, open } from "../support/devices.js";
import { expectError } from "../support/errors.js";
import { cycle, type Options, setUp, uba } from "./support/captured.js";
import { bitsByName } from "./support/runs.js";

await onEveryDevice("what cannot be captured is refused by name", (device) => {
  /** Whatever is refused: the device and an optimizer go on as if nobody had tried. */
  async function refused(work: (own: ReturnType<typeof setUp>) => void, code: string, ...words: string[]) {
    const options: Options = { lr: uba, clipNorm: 1 };
    const [own, other] = [setUp(device, "AdamW", options), setUp(device, "AdamW", options)];
    for (const { optimizer } of [own, other]) {
      optimizer.tabulate();
      optimizer.step();
    }
    await expectError(() => device.capture(() => work(own)), code, ...words);
    // And a second time, behind work that was recorded already.
    const before = device.memory();
    const second = () => {
      own.optimizer.step();
      work(own);
    };
    await expectError(() => device.capture(second), code, ...words);
    // The collector may have freed what earlier tests left; nothing has come.
    expect(device.memory().tensors).toBeLessThanOrEqual(before.tensors);
    expect(device.memory().allocated).toBeLessThanOrEqual(before.allocated);
    expect(device.capturing).toBeUndefined();
    await device.synchronize();
    for (let step = 0; step < 3; step++) for (const { optimizer } of [own, other]) optimizer.step();
    expect(await own.everything()).toEqual(await other.everything());
    // A capture that is not refused still works.
    const captures = [own, other].map(({ optimizer }) => device.capture(() => optimizer.step()));
    for (const capture of captures) capture.replay(2);
    expect(await own.everything()).toEqual(await other.everything());
    expect(own.optimizer.iteration).toBe(6);
    for (const capture of captures) capture.dispose();
    own.dispose();
    other.dispose();
  }

  test("reading", () =>
    refused(({ parameters }) => void parameters[1]!.read(), "invalid-state", "read cannot be captured"));
  test("writing", () =>
    refused(
      ({ parameters }) => parameters[1]!.write(new Float32Array(3)),
      "invalid-state",
      "write cannot be captured",
    ));
  test("a tensor made from data", () =>
    refused(() => void tensor(device, [1, 2]), "invalid-state", "a tensor made from data cannot be captured"));
  test("synchronize", () =>
    refused(() => void device.synchronize(), "invalid-state", "synchronize cannot be captured"));
  test("a timer", () => refused(() => void device.time(() => {}), "invalid-state", "a timer cannot be captured"));
  test("trim", () => refused(() => device.trim(), "invalid-state", "trim cannot be captured"));
  test("close", () => refused(() => void device.close(), "invalid-state", "close cannot be captured"));
  test("what an asynchronous function reads: its promise rejects, too", async () => {
    const own = setUp(device, "SGD", { lr: uba });
    own.optimizer.tabulate();
    let stats: Promise<unknown> | undefined;
    const work = () => {
      stats = own.optimizer.stats();
      stats.catch(() => {});
      own.optimizer.step();
    };
    await expectError(() => device.capture(work), "invalid-state", "read cannot be captured");
    await expectError(() => stats, "invalid-state", "read cannot be captured");
    expect(await own.optimizer.stats()).toMatchObject({ iteration: 0 });
    own.dispose();
  });
  test("a capture inside a capture", () =>
    refused(() => void device.capture(() => {}), "invalid-state", "a capture inside a capture cannot be captured"));
  test("an error of the work's own comes out as it is", async () => {
    const own = new Error("mine");
    expect(() =>
      device.capture(() => {
        throw own;
      }),
    ).toThrow(own);
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
    ["what is kept is not there yet", { lr: 0.1 }],
  ])("a step: %s", async (_, options) => {
    const [own, other] = [setUp(device, "AdamW", options), setUp(device, "AdamW", options)];
    const before = await own.everything();
    const attempt = () => device.capture(() => own.optimizer.step());
    await expectError(attempt, "invalid-state", "cannot be captured", "call optimizer.tabulate()");
    expect(await own.everything()).toEqual(before);
    for (let step = 0; step < 3; step++) for (const { optimizer } of [own, other]) optimizer.step();
    expect(await own.everything()).toEqual(await other.everything());
    own.dispose();
    other.dispose();
  });
});

await onEveryDevice("memory of captured work", (device) => {
  test("what is made inside lives apart: work outside cannot get it, and a replay cannot spoil work outside", async () => {
    const source = full(device, [1000], 1);
    const inside: Tensor[] = [];
    const capture = device.capture(() => {
      // A chain through a tensor that is gone before the capture ends.
      const temporary = cast(source, "float64");
      inside.push(cast(temporary, "float32"));
      temporary.dispose();
    });
    // As many as would use up every free piece of the size.
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
    // The other way round: what outside writes is not in the way of a replay.
    for (const one of outside) fill(one, -1);
    capture.replay();
    expect(await inside[0]!.read()).toEqual(new Float32Array(1000).fill(5));
    capture.dispose();
    for (const one of [source, ...inside, ...outside]) one.dispose();
  });

  test("inputs may be disposed between capture and replay", async () => {
    const [source, target] = [full(device, [1000], 7), full(device, [1000], 0)];
    const capture = device.capture(() => copy(target, source));
    source.dispose();
    const others = Array.from({ length: 20 }, (_, i) => full(device, [1000], 100 + i));
    capture.replay();
    expect(await target.read()).toEqual(new Float32Array(1000).fill(7));
    for (const one of [target, ...others]) one.dispose();
    // Nobody can see any more what it does, but it does no harm.
    capture.replay(3);
    await device.synchronize();
    capture.dispose();
  });

  test("an optimizer may be disposed, and its gradients: replays go on", async () => {
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

  test("what was made inside outlives the capture", async () => {
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

  test("a replay after dispose throws, and counts nothing", async () => {
    const own = setUp(device, "SGD", { lr: uba });
    own.optimizer.tabulate();
    const capture = device.capture(() => own.optimizer.step());
    capture.replay();
    capture.dispose();
    await expectError(() => capture.replay(), "invalid-state", "replay", "disposed");
    for (const times of [-1, 0.5, Number.NaN, "1"])
      await expectError(() => device.capture(() => {}).replay(times as number), "invalid-argument", "times");
    expect(own.optimizer.iteration).toBe(1);
    expect((await own.optimizer.stats()).iteration).toBe(1);
    own.dispose();
  });

  test("an empty capture does nothing, as often as wanted", async () => {
    const capture = device.capture(() => {});
    capture.replay(1000);
    await device.synchronize();
    capture.dispose();
  });

  test("two captures on one device", async () => {
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

describe.each(devices)("devices of their own ($label)", (under) => {
  // Nothing that another test left for the collector counts here.
  test("dispose gives back what only the captured work held, once", async () => {
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
    // What it uses of others, and what it made: nobody has a handle any more.
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

  test("what is disposed of inside makes room for what comes after it inside, and for nothing else", async () => {
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
    // Two of 40 kB take turns.
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

  test("many captures leave nothing behind", async () => {
    const device = await open(under);
    const own = setUp(device, "AdamW", { lr: uba, clipNorm: 1 });
    own.optimizer.tabulate();
    const cycleOnce = () => {
      const capture = device.capture(() => own.optimizer.step());
      capture.replay(2);
      capture.dispose();
    };
    cycleOnce();
    const before = device.memory();
    for (let i = 0; i < 20; i++) cycleOnce();
    expect(device.memory()).toEqual(before);
    expect((await own.optimizer.stats()).iteration).toBe(42);
    own.dispose();
    await device.close();
  });

  test.each(["float32", "bfloat16"] as const)(
    "a replay after the optimizer was disposed makes nothing anew (%s)",
    async (dtype) => {
      const device = await open(under);
      const before = device.memory().tensors;
      const own = setUp(device, "AdamW", { lr: uba }, dtype);
      own.optimizer.tabulate();
      const capture = device.capture(() => own.optimizer.step());
      own.dispose();
      const held = device.memory();
      capture.replay(3);
      await device.synchronize();
      expect(device.memory()).toMatchObject({ tensors: held.tensors, allocated: held.allocated });
      capture.dispose();
      // Also of what tabulate made on the way.
      expect(device.memory().tensors).toBe(before);
      await device.close();
    },
  );

  test("memory that runs short inside: what is cached goes back first, and a refusal leaves no trace", async () => {
    const device = await open(under, { memoryLimit: 10e6 });
    const x = full(device, [500_000], 3);
    full(device, [1_400_000], 1).dispose();
    // 4 MB that there is room for only without the 5.6 MB that are cached.
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

  test("one captures while the other works", async () => {
    const [device, other] = [await open(under), await open(under)];
    const [captured, eager] = [setUp(device, "AdamW", { lr: uba }), setUp(other, "AdamW", { lr: uba })];
    captured.optimizer.tabulate();
    const reads: Promise<unknown>[] = [];
    const capture = device.capture(() => {
      // Everything that this device refuses now is the other's good right.
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
