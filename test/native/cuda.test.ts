// The CUDA backend, as the emulator runs it: what it says where CUDA cannot be used, its memory, its events, and memory
// of other programs. What a machine has is chosen with the environment, so those tests have processes of their own
// (test/emulator/cuda_runtime_emulated.h).
import { afterAll, describe, expect, it } from "vitest";
import { type Device, type DevicePointer, findAddon, openDevice } from "#lib/native/index.js";
import { Parameter } from "#lib/nn/index.js";
import { AdamW, Lion, SGD } from "#lib/optim/index.js";
import { argmax, copy, fill, full, type Tensor, tensor, zeros } from "#lib/tensor/index.js";
import { gradientValues, initialValues, parameterOf, setGradient } from "../optim/support/runs.js";
import { runProgram } from "../support/child.js";
import { bits } from "../support/compare.js";
import { expectError } from "../support/errors.js";
import { attacks } from "./support/attacks.js";

const addon = findAddon("cuda-emulated").addon;
const program = (name: string): URL => new URL(`support/${name}.ts`, import.meta.url);
const onCuda = { STEPSIZE_TEST_ADDON: "cuda-emulated" };
const isThere = { skip: addon === undefined };

async function opened(name: string, env: Readonly<Record<string, string>>): Promise<Record<string, unknown>> {
  const { stdout, stderr, code } = await runProgram(program("open-cuda"), [name], [], env);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout);
}

describe("where CUDA cannot be used", isThere, () => {
  it.each([
    { env: { STEPSIZE_EMULATED_DRIVER: "0" }, words: "there is no NVIDIA driver on this machine" },
    {
      env: { STEPSIZE_EMULATED_DRIVER: "12040" },
      words: "the NVIDIA driver is for CUDA 12.4, and CUDA 13 is needed: install driver 580 or newer",
    },
    { env: { STEPSIZE_EMULATED_DEVICES: "0" }, words: "the driver finds no GPU" },
    {
      env: { STEPSIZE_EMULATED_CAPABILITY: "75" },
      words: "Emulated GPU 0 has compute capability 7.5, and 8.0 is needed: an A100, an RTX 30 or newer",
    },
    { env: { CUDA_VISIBLE_DEVICES: "" }, words: 'CUDA_VISIBLE_DEVICES="" hides all GPUs' },
    { env: { CUDA_VISIBLE_DEVICES: "7" }, words: 'CUDA_VISIBLE_DEVICES="7" hides all GPUs' },
  ] as { env: Record<string, string>; words: string }[])("openDevice says so: $env", async ({ env, words }) => {
    const outcome = await opened("cuda:emulated", env);
    expect(outcome).toMatchObject({ error: "StepsizeError", code: "not-found" });
    expect(outcome["message"]).toContain(words);
    expect(outcome["message"]).toMatch(/^cuda:emulated: /);
  });

  it("a newer driver, and a GPU that is one of several, are fine", async () => {
    const outcome = await opened("cuda:emulated", { STEPSIZE_EMULATED_DRIVER: "13020", CUDA_VISIBLE_DEVICES: "1" });
    expect(outcome).toMatchObject({ name: "cuda:emulated", value: 2, facts: { name: "Emulated GPU 1" } });
  });
});

describe("which device a name opens", () => {
  it("auto never opens the emulated one, nor is it listed", async () => {
    const outcome = await opened("auto", {});
    expect(outcome["name"]).toMatch(/^(cpu|cuda:\d+)$/);
    expect(outcome["listed"]).not.toContain("cuda:emulated");
    expect(outcome["name"] === "cpu").toBe(!(outcome["listed"] as string[]).includes("cuda:0"));
  });

  it("auto with an option of the CPU's opens the CPU", async () => {
    const device = await openDevice("auto", { threads: 1 });
    expect(device.name).toBe("cpu");
    await device.close();
  });

  it.each(["cuda:x", "cuda:", "cuda:-1", "cuda:1.5", "cuda:1000", "CUDA", "cuda:emulated:1", "cuda 0", ""])(
    "refuses %j",
    async (name) => {
      await expectError(() => openDevice(name), "invalid-argument", "device: expected", JSON.stringify(name));
    },
  );

  it("refuses a GPU that is not there", async () => {
    const outcome = await opened("cuda:7", {});
    // Without the addon that is what is missing.
    expect(["not-found", "invalid-argument"]).toContain(outcome["code"]);
    if (!addon) return;
    expect(() => new addon.NativeDevice({ index: 7 })).toThrow(/^index: this machine has 2 GPUs, from 0 on; got 7$/);
  });

  it("refuses options of the CPU", isThere, async () => {
    for (const options of [{ threads: 2 }, { instructionSet: "avx2" }])
      await expectError(() => openDevice("cuda:emulated", options), "invalid-argument", "options of the CPU");
  });
});

describe("when the memory is full", isThere, () => {
  it("says who holds it, nothing sticks, and what is given back can be used again", async () => {
    const { stdout, stderr, code } = await runProgram(program("cuda-memory"), [], [], {
      STEPSIZE_EMULATED_MEMORY: String(64 * 2 ** 20),
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const seen = JSON.parse(stdout);
    const outOfMemory = {
      name: "StepsizeError",
      code: "out-of-memory",
      message: expect.stringMatching(
        /^tensor: 4\.2 MB for float32\[1048576\] do not fit: .* Largest holders: \d+ × tensor \[1048576\]/,
      ),
    };
    expect(seen.full).toEqual(outOfMemory);
    expect(seen.again).toEqual(outOfMemory);
    // All of it but for a few tables: 16 pieces of 4 MiB make 64.
    expect(seen.pieces).toBeGreaterThanOrEqual(15);
    expect(seen.values).toEqual(Array.from({ length: seen.pieces }, (_, i) => i));
    expect(seen).toMatchObject({ reused: 77, cached: true, large: 12 * 2 ** 20 });
    expect(seen.step).toMatchObject({ code: "out-of-memory" });
    expect(seen).toMatchObject({ iteration: 0, keys: ["state", "updates"], before: 1, after: 0.5 });
    expect(seen.stats).toMatchObject({ iteration: 1, updates: 1 });
  });

  it("gives an operation's own needs what is cached for tensors, or says that there is nothing", async () => {
    const { stdout, stderr, code } = await runProgram(program("cuda-scratch"), [], [], {
      STEPSIZE_EMULATED_MEMORY: String(4 * 2 ** 20),
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const rows = 2 ** 16;
    const seen = JSON.parse(stdout);
    expect(seen).toMatchObject({ full: { code: "out-of-memory" }, eager: rows, captured: rows, again: rows });
    expect(seen.none).toMatchObject({
      code: "out-of-memory",
      message: expect.stringMatching(
        /^correctCount\(float32\[65536,1\], int32\[65536\]\): memory beside its tensors: out of/,
      ),
    });
  });
});

// As on compute capability 8.6 and 8.9, the RTX 30 and RTX 40.
describe("with 99 KiB of shared memory", isThere, () => {
  it("runs every product and every size of a head, to the same bits as with more", async () => {
    const run = async (bytes: number) => {
      const env = { STEPSIZE_EMULATED_SHARED: String(bytes) };
      const { stdout, stderr, code } = await runProgram(program("cuda-shared"), [], [], env);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      return JSON.parse(stdout);
    };
    const [few, many] = [await run(99 * 1024), await run(163 * 1024)];
    expect(few.errors).toEqual([]);
    expect(few.sums).toEqual(many.sums);
  });
});

describe("an emulated GPU", isThere, async () => {
  const [device, other] = addon ? [await openDevice("cuda:emulated"), await openDevice("cuda:emulated")] : [];
  afterAll(() => Promise.all([device?.close(), other?.close()]));
  const [gpu, second] = [device as Device, other as Device];

  it("makes no graph of captured work in which an operation failed", async () => {
    const wide = zeros(gpu, [0, 3e9]);
    const x = full(gpu, [4], 1);
    const attempt = () => {
      fill(x, 2);
      argmax(wide);
    };
    const words = ["argmax(float32[0,3000000000])", "3000000000 columns, at most 2147483647 on CUDA"];
    await expectError(() => gpu.capture(attempt), "device-failed", ...words);
    // It belongs to the capture, or to the result, and work goes on.
    expect(await x.read()).toEqual(Float32Array.of(1, 1, 1, 1));
    await expectError(() => argmax(wide).read(), "device-failed", ...words);
    await gpu.synchronize();
    const capture = gpu.capture(() => fill(x, 3));
    capture.replay();
    expect(await x.read()).toEqual(Float32Array.of(3, 3, 3, 3));
    capture.dispose();
  });

  it("has each upload at its place in the order, whichever way it travels", async () => {
    // Below and above the size from which uploads have a stream of their own, which grows its slots on the way.
    const sizes = [10, 20_000, 16_384, 100_000, 20_000, 300_000, 5, 300_000, 300_000, 16_385];
    const found: Promise<number>[] = [];
    const written: Tensor[] = sizes.map((size) => full(gpu, [size], 0));
    for (let round = 0; round < 3; round++)
      for (const [i, size] of sizes.entries()) {
        const x = written[i] as Tensor;
        // Read by work that is enqueued before the next upload overwrites it.
        x.write(new Float32Array(size).fill(100 * round + i));
        found.push(
          x
            .sum()
            .multiply(1 / size)
            .item(),
        );
      }
    const expected = [0, 1, 2].flatMap((round) => sizes.map((_, i) => 100 * round + i));
    for (const [k, value] of (await Promise.all(found)).entries()) expect(value).toBeCloseTo(expected[k] as number, 2);
    for (const x of written) x.dispose();
  });

  it("finishes what was enqueued when it closes, and refuses everything after", async () => {
    const own = await openDevice("cuda:emulated");
    const x = full(own, [2 ** 20], 0);
    for (let i = 1; i <= 200; i++) fill(x, i);
    const value = x.read();
    await own.close();
    expect((await value)[2 ** 20 - 1]).toBe(200);
    for (const call of [() => x.read(), () => fill(x, 1), () => own.recordEvent(), () => own.close()])
      await expectError(call, "invalid-state", "the device was closed");
    x.dispose();
  });

  it("tells how long work takes on it", async () => {
    const x = full(gpu, [2 ** 20], 0);
    const empty = await gpu.time(() => {});
    const busy = await gpu.time(() => {
      for (let i = 0; i < 20; i++) fill(x, i);
    });
    expect(empty).toBeGreaterThanOrEqual(0);
    expect(busy).toBeGreaterThan(empty);
    x.dispose();
  });

  it("works side by side with another one, each in its own order", async () => {
    const runs = [gpu, second].map((one) => {
      const parameter = parameterOf(one, 1025);
      const optimizer = new AdamW([parameter], { lr: 0.01, clipNorm: 1 });
      return { parameter, optimizer };
    });
    for (let step = 0; step < 20; step++)
      for (const { parameter, optimizer } of runs) {
        setGradient(parameter, gradientValues(1025, step));
        optimizer.step();
      }
    const [a, b] = await Promise.all(runs.map(({ parameter }) => parameter.read()));
    expect(bits(a!).equals(bits(b!))).toBe(true);
  });

  describe("memory of others", () => {
    const size = 1025;
    const place = (one: Tensor, from = 0, length = one.size - from): DevicePointer => ({
      devicePointer: one.devicePointer + BigInt(from * (one.dtype === "bfloat16" ? 2 : 4)),
      length,
      dtype: one.dtype,
    });
    const options = { lr: 0.01, clipNorm: 1, device: gpu };

    it.each([
      { Rule: AdamW, dtype: "float32" },
      { Rule: Lion, dtype: "float32" },
      { Rule: AdamW, dtype: "bfloat16" },
    ] as const)("gives the bits of a tensor's step: $Rule.name $dtype", async ({ Rule, dtype }) => {
      const own = [size, 3].map((count, i) => parameterOf(gpu, count, "", i + 1, dtype));
      const theirs = [size, 3].map((count, i) => tensor(gpu, initialValues(count, i + 1), [count], { dtype }));
      const gradients = [size, 3].map((count) => tensor(gpu, new Float32Array(count), [count], { dtype }));
      const more = { masterWeights: false, momentType: "bfloat16" } as const;
      const tensors = new Rule(own, { ...options, ...more });
      const pointers = new Rule(
        theirs.map((one) => place(one)),
        { ...options, ...more },
      );
      for (let step = 0; step < 5; step++) {
        for (const [i, parameter] of own.entries()) {
          setGradient(parameter, gradientValues(parameter.size, step, 100 * i));
          copy(gradients[i]!, parameter.grad!);
        }
        tensors.step();
        // The caller's order is kept: the step is enqueued, as for tensors.
        pointers.step(gradients.map((one) => place(one)));
      }
      for (const [i, parameter] of own.entries())
        expect(bits(await theirs[i]!.read()).equals(bits(await parameter.read())), `parameter ${i}`).toBe(true);
      expect(await pointers.stats()).toEqual(await tensors.stats());
      expect(pointers.iteration).toBe(5);
    });

    it.each([0, 1, 3, 5])("from %d elements into an allocation on, and nothing beside it", async (from) => {
      const parameter = parameterOf(gpu, initialValues(size).slice(from, size - 2));
      const whole = tensor(gpu, initialValues(size));
      const gradient = tensor(gpu, gradientValues(size, 0));
      const tensors = new AdamW([parameter], options);
      const pointers = new AdamW([place(whole, from, size - 2 - from)], options);
      setGradient(parameter, gradientValues(size, 0).slice(from, size - 2));
      tensors.step();
      pointers.step([place(gradient, from, size - 2 - from)]);
      const expected = initialValues(size);
      expected.set((await parameter.read()) as Float32Array, from);
      expect(bits(await whole.read()).equals(bits(expected))).toBe(true);
    });

    const x = addon ? full(gpu, [64], 1) : (undefined as never);
    const gradient = addon ? full(gpu, [64], 1) : (undefined as never);

    it.each([
      ["an address that is nobody's", () => ({ devicePointer: 4096n, length: 4 })],
      ["no address", () => ({ devicePointer: 0n, length: 4 })],
      ["the last address", () => ({ devicePointer: 2n ** 64n - 4n, length: 4 })],
      ["a range that runs past its allocation", () => ({ ...place(x), length: 2 ** 24 })],
      ["a range that runs past all memory", () => ({ ...place(x), length: 2 ** 39 })],
    ])("refuses %s", async (_, wrong) => {
      const words = ["devicePointer: ", "are not memory of this device"];
      const optimizer = new SGD([wrong()], { lr: 1, device: gpu });
      await expectError(() => optimizer.step([wrong()]), "invalid-argument", ...words);
      const other = new SGD([place(x, 0, 4)], { lr: 1, device: gpu });
      await expectError(
        () => other.step([wrong().length === 4 ? wrong() : { ...wrong(), length: 4, devicePointer: 4096n }]),
        "invalid-argument",
        ...words,
      );
      expect([optimizer.iteration, other.iteration]).toEqual([0, 0]);
      await gpu.synchronize();
      expect(await x.read()).toEqual(new Float32Array(64).fill(1));
    });

    it.each([
      ["an address of 65 bits", { devicePointer: 2n ** 64n, length: 4 }, "64 bits"],
      ["a negative address", { devicePointer: -16n, length: 4 }, "64 bits"],
      ["an address that is no bigint", { devicePointer: 4096, length: 4 }, "devicePointer: bigint"],
      ["half an element", { devicePointer: 4096n, length: 1.5 }, "length"],
      ["a negative length", { devicePointer: 4096n, length: -1 }, "length"],
      ["a type that cannot be trained", { devicePointer: 4096n, length: 4, dtype: "int32" }, "float32 or bfloat16"],
    ])("refuses %s", async (_, wrong, words) => {
      const call = () => new SGD([wrong as never], { lr: 1, device: gpu }).step([wrong as never]);
      await expectError(call, "invalid-argument", words);
    });

    it("refuses an address that is no multiple of its type's size: a GPU would fail for good", async () => {
      const own = full(gpu, [64], 1);
      const odd = { devicePointer: own.devicePointer + 2n, length: 4 };
      const attempts = [
        () => new SGD([odd], { lr: 1, device: gpu }).step([place(gradient, 0, 4)]),
        () => new SGD([place(own, 8, 4)], { lr: 1, device: gpu }).step([odd]),
      ];
      for (const attempt of attempts) await expectError(attempt, "invalid-argument", "devicePointer");
      await gpu.synchronize();
    });

    it("refuses memory of another GPU", async () => {
      const native = new addon!.NativeDevice({ index: 1 });
      const far = native.create("float32", [64]);
      const optimizer = new SGD([place(x)], { lr: 1, device: gpu });
      const wrong = { devicePointer: far.devicePointer, length: 64 };
      await expectError(() => optimizer.step([wrong]), "invalid-argument", "are not memory of this device");
      await native.close();
    });

    it("refuses ranges that overlap what is written", async () => {
      const pair = new SGD([place(x, 0, 32), place(x, 31, 32)], { lr: 1, device: gpu });
      const gradients = [place(gradient, 0, 32), place(gradient, 0, 32)];
      await expectError(() => pair.step(gradients), "invalid-argument", "overlaps");
      const itself = new SGD([place(x, 0, 32)], { lr: 1, device: gpu });
      await expectError(() => itself.step([place(x, 16, 32)]), "invalid-argument", "overlaps");
      // Neighbours do not overlap, and gradients, which are only read, may.
      const apart = new SGD([place(x, 0, 32), place(x, 32, 32)], { lr: 0, device: gpu });
      apart.step(gradients);
      expect(await x.read()).toEqual(new Float32Array(64).fill(1));
    });

    it("needs to be told whose memory it is", async () => {
      await expectError(
        () => new SGD([place(x)], { lr: 1 }),
        "invalid-argument",
        "device: expected the device whose memory",
      );
      const cpu = await openDevice("cpu");
      const onCpu = new SGD([place(x)], { lr: 1, device: cpu });
      await expectError(() => onCpu.step([place(gradient)]), "invalid-argument", "the CPU has no device memory");
      await cpu.close();
    });

    it("takes one gradient of the right kind, type and length for each", async () => {
      const optimizer = new SGD([place(x)], { lr: 1, device: gpu });
      for (const [gradients, words] of [
        [[], "expected one for each of 1 parameters, got 0"],
        [undefined, "got none"],
        [[place(gradient, 0, 63)], "gradients[0] is float32[63]"],
        [[{ ...place(gradient), dtype: "bfloat16" }], "gradients[0] is bfloat16[64]"],
        [[new Float32Array(64)], "cannot be used on this device"],
        [[gradient], "gradients[0]"],
      ] as [never, string][])
        await expectError(() => optimizer.step(gradients), "invalid-argument", words);
      expect(optimizer.iteration).toBe(0);
    });

    it("keeps no master of bfloat16 that is not its own", async () => {
      const low = tensor(gpu, initialValues(8), [8], { dtype: "bfloat16" });
      const optimizer = new SGD([place(low)], { lr: 1, device: gpu });
      await expectError(() => optimizer.step([place(low)]), "unsupported", "masterWeights: false");
    });

    it("refuses arrays of the host", async () => {
      const optimizer = new SGD([new Float32Array(4)], { lr: 1, device: gpu });
      await expectError(
        () => optimizer.step([new Float32Array(4)]),
        "invalid-argument",
        "an array cannot be used on this device",
      );
    });

    it("may be empty, wherever it is", async () => {
      const nothing = { devicePointer: 0n, length: 0 };
      const optimizer = new SGD([nothing, place(x, 0, 4)], { lr: 0, device: gpu });
      optimizer.step([nothing, place(gradient, 0, 4)]);
      expect(await optimizer.stats()).toMatchObject({ updates: 1 });
    });

    it("can be captured", async () => {
      const [theirs, own] = [tensor(gpu, initialValues(64)), parameterOf(gpu, 64)];
      setGradient(own, gradientValues(64, 0));
      const pointers = new AdamW([place(theirs)], { lr: 0.01, device: gpu });
      const tensors = new AdamW([own], { lr: 0.01 });
      pointers.tabulate();
      const capture = gpu.capture(() => pointers.step([place(own.grad!)]));
      capture.replay(5);
      for (let step = 0; step < 5; step++) tensors.step();
      expect(bits(await theirs.read()).equals(bits(await own.read()))).toBe(true);
      capture.dispose();
    });
  });

  describe("events", () => {
    it("order the work of two streams: what one makes the other reads, and the first waits before it goes on", async () => {
      const many = 2 ** 20;
      const gradient = full(gpu, [many], 0);
      const parameter = full(second, [many], 0);
      await Promise.all([gpu.synchronize(), second.synchronize()]);
      const pointer = (one: Tensor) => ({ devicePointer: one.devicePointer, length: many });
      const optimizer = new SGD([pointer(parameter)], { lr: 1, device: second });
      for (let round = 1; round <= 5; round++) {
        // Long enough that the other stream would read one of the values before, if it did not wait.
        for (let i = 0; i < 20; i++) fill(gradient, 1000 + i);
        fill(gradient, -1);
        second.waitForEvent(gpu.recordEvent());
        optimizer.step([pointer(gradient)]);
        gpu.waitForEvent(second.recordEvent());
      }
      const values = (await parameter.read()) as Float32Array;
      expect(values.findIndex((value) => value !== 5)).toBe(-1);
    });

    it("a device may wait for its own, and for one that was reached long ago", async () => {
      const x = full(gpu, [4], 3);
      const event = gpu.recordEvent();
      await gpu.synchronize();
      gpu.waitForEvent(event);
      second.waitForEvent(event);
      expect(await x.read()).toEqual(new Float32Array(4).fill(3));
      await second.synchronize();
    });

    it.each([0n])("refuses %d, which is none", async (event) => {
      await expectError(() => gpu.waitForEvent(event), "invalid-argument", "event: ");
      await gpu.synchronize();
    });

    it.each([undefined, null, 1, "1", {}, -1n, 2n ** 64n])("refuses %s, which cannot be one", async (event) => {
      await expectError(() => gpu.waitForEvent(event as never), "invalid-argument", "event: expected");
    });

    it("cannot be captured", async () => {
      const event = gpu.recordEvent();
      for (const call of [() => void gpu.recordEvent(), () => gpu.waitForEvent(event)])
        await expectError(() => gpu.capture(call), "invalid-state", "cannot be captured");
      await gpu.synchronize();
    });

    it("are not needed where both work in one stream", async () => {
      const one = await openDevice("cuda:emulated");
      const two = await openDevice("cuda:emulated", { stream: one.stream });
      expect(two.stream).toBe(one.stream);
      const count = 1_000_000;
      const x = full(one, [count], 0);
      // Enough work that the copy would come too early, if it did not wait for its turn.
      for (let value = 1; value <= 20; value++) fill(x, value);
      const y = tensor(two, new Float32Array(count));
      const pointer = { devicePointer: x.devicePointer, length: count };
      const parameter = { devicePointer: y.devicePointer, length: count };
      new SGD([parameter], { lr: 1, device: two }).step([pointer]);
      expect((await y.read()).every((value) => value === -20)).toBe(true);
      await two.close();
      await one.close();
    });

    it("a CPU has none", async () => {
      const cpu = await openDevice("cpu");
      await expectError(() => cpu.recordEvent(), "invalid-argument");
      await expectError(() => cpu.waitForEvent(1n), "invalid-argument");
      await cpu.close();
    });
  });

  it("gives a model's parameters an address, and none where they were disposed", () => {
    const parameter = new Parameter(tensor(gpu, [1, 2, 3]));
    expect(parameter.devicePointer).toBeGreaterThan(0n);
    parameter.dispose();
    expect(parameter.devicePointer).toBe(0n);
  });
});

describe("the ends of threads and processes", isThere, () => {
  it("worker threads end cleanly in the middle of queued work, ten of ten", async () => {
    const ended = await runProgram(program("terminate-workers"), [], [], onCuda);
    expect(ended).toMatchObject({ code: 0, stdout: "ok\n", stderr: "" });
  });

  it.each([
    { way: "exit", code: 7, seen: "" },
    { way: "throw", code: 1, seen: "on purpose" },
    { way: "nothing", code: 0, seen: "" },
  ])("the process ends with work in flight ($way)", async ({ way, code, seen }) => {
    const ended = await runProgram(program("exit-early"), [way], [], onCuda);
    expect(ended).toMatchObject({ code, signal: null });
    expect(ended.stderr).toContain(seen);
  });
});

// The hostile programs of surface.test.ts, which says more; here the backend behind the same surface is another.
describe("the addon never crashes the process", isThere, () => {
  it("survives every attack", async () => {
    const { stdout, stderr, code, signal } = await runProgram(program("run-attacks"), [], [], onCuda);
    const lines = stdout
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as { name: string; outcome: string; expected?: boolean });
    const ended = lines.filter(({ expected }) => expected !== undefined);
    expect(ended.filter(({ expected }) => !expected)).toEqual([]);
    expect({ code, signal, last: lines.at(-1)?.name }, stderr).toMatchObject({ code: 0, signal: null });
    const all = Object.entries(attacks).flatMap(([name, { cpuOnly }]) => (cpuOnly ? [] : name));
    expect(ended.map(({ name }) => name)).toEqual(all);
  });

  it.each([2, 3])("survives random calls (seed %i)", async (seed) => {
    const ended = await runProgram(program("fuzz"), [`${seed}`, "6000", "8"], [], onCuda);
    expect(ended).toMatchObject({ code: 0, signal: null, stderr: "" });
    const counts = JSON.parse(ended.stdout.replace("ok ", ""));
    expect(counts.returned).toBeGreaterThan(500);
    expect(counts.threw).toBeGreaterThan(2000);
  });
});
