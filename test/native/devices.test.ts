// Finding, opening, describing and closing devices.
import { describe, expect, it } from "vitest";
import { listDevices, openDevice } from "#lib/native/index.js";
import { matmul, ones, tensor } from "#lib/tensor/index.js";
import { devices, open } from "../support/devices.js";
import { expectError } from "../support/errors.js";

/** The instruction sets of the addon, best first. */
const instructionSets = process.arch === "arm64" ? "neon, portable" : "avx512, avx2, portable";

describe("the CPU", () => {
  it("always exists, with at least the portable kernels", () => {
    const cpu = listDevices().find(({ name }) => name === "cpu");
    expect(cpu).toMatchObject({ name: "cpu" });
    expect(cpu?.problem).toBeUndefined();
    expect(cpu?.facts["instructionSets"]?.split(" ")).toContain("portable");
    expect(Number(cpu?.facts["threads"])).toBeGreaterThanOrEqual(1);
  });

  it("is opened by auto if there is no GPU, with the best instruction set", async () => {
    const gpu = listDevices().some(({ name }) => name === "cuda:0");
    const device = await openDevice("auto", gpu ? { threads: 1 } : {});
    expect(device.name).toBe("cpu");
    expect(device.describe()["kernels"]).toBe(listDevices()[0]!.facts["kernels"]);
    await device.close();
  });

  it("uses the given number of threads", async () => {
    const device = await openDevice("cpu", { threads: 3 });
    expect(device.describe()).toMatchObject({ threads: "3" });
    await device.close();
  });

  it.each([
    { options: { threads: 0 }, words: ["threads: expected a whole number from 1", "got 0"] },
    { options: { threads: 1.5 }, words: ["threads", "got 1.5"] },
    { options: { memoryLimit: -1 }, words: ["memoryLimit", "got -1"] },
    { options: { instructionSet: "mmx" }, words: [`instructionSet: expected one of ${instructionSets}`, "mmx"] },
    { options: { instructionSet: 3 }, words: ["instructionSet", "a string"] },
  ])("refuses $options", async ({ options, words }) => {
    await expectError(() => openDevice("cpu", options as never), "invalid-argument", ...words);
  });

  it("refuses the name of an unknown device", async () => {
    await expectError(() => openDevice("tpu"), "invalid-argument", "device: expected", '"tpu"');
  });
});

describe.each(devices)("a device ($label)", (under) => {
  const isCpu = under.name === "cpu";

  it("refuses an operation that is not in the table", async () => {
    const device = await open(under);
    await expectError(() => device.enqueue("convolve", []), "unsupported", '"convolve"');
    await device.close();
  });

  it.runIf(isCpu)("runs the requested kernels", async () => {
    const device = await open(under);
    expect(device.describe()["kernels"]).toBe(under.options.instructionSet);
    await device.close();
  });

  it("finishes enqueued work before it closes, and refuses later calls", async () => {
    const device = await open(under);
    const x = ones(device, [100, 100]);
    let y = x;
    for (let i = 0; i < 20; i++) y = matmul(y, x).multiply(0.01);
    const value = y.read();
    await device.close();
    expect((await value)[0]).toBeCloseTo(1, 4);
    for (const call of [
      () => tensor(device, [1]),
      () => x.read(),
      () => x.add(1),
      () => device.synchronize(),
      () => device.memory(),
      () => device.close(),
    ])
      await expectError(call, "invalid-state", "the device was closed");
    x.dispose();
    expect(x.disposed).toBe(true);
  });

  it("does not block the event loop during its work", async () => {
    const device = await open(under, isCpu ? { threads: 1 } : {});
    // The emulator is a hundred times slower than a CPU, and a GPU a hundred times faster.
    const size = isCpu ? 500 : under.name === "cuda:emulated" ? 200 : 4096;
    const x = ones(device, [size, size]);
    /** The turns of the event loop between the calls and the end of their work. */
    const turnsDuringWork = async () => {
      for (let i = 0; i < 30; i++) matmul(x, x).dispose();
      let turns = 0;
      const turn = () => {
        turns++;
        next = setImmediate(turn);
      };
      let next = setImmediate(turn);
      await device.synchronize();
      clearImmediate(next);
      return turns;
    };
    // If the calls did the work, the result would be available after one or two turns, every time. On a busy machine the
    // event loop may get no processor for as long as the work takes, but not every time.
    let most = 0;
    for (let attempt = 0; attempt < 100 && most <= 20; attempt++) most = Math.max(most, await turnsDuringWork());
    expect(most).toBeGreaterThan(20);
    await device.close();
  });

  it.runIf(isCpu)("shares its threads with other open devices", async () => {
    const both = [await open(under, { threads: 2 }), await open(under, { threads: 3 })];
    const sums = await Promise.all(
      both.flatMap((device) => {
        const x = ones(device, [300, 300]);
        return Array.from({ length: 10 }, () => matmul(x, x).sum().item());
      }),
    );
    expect(new Set(sums)).toEqual(new Set([300 ** 3]));
    await Promise.all(both.map((device) => device.close()));
  });
});
