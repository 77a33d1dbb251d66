// The CUDA backend on the emulator: errors if CUDA cannot be used, memory, events, and caller-owned memory. Environment
// variables select the emulated machine, so those tests run in separate processes
// (test/emulator/cuda_runtime_emulated.h).
import { existsSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { type Device, type DevicePointer, findAddon, openDevice } from "#lib/native/index.js";
import { Parameter } from "#lib/nn/index.js";
import { AdamW, Lion, SGD } from "#lib/optim/index.js";
import { argmax, copy, fill, full, type Tensor, tensor, zeros } from "#lib/tensor/index.js";
import { gradientValues, initialValues, parameterOf, setGradient } from "../optim/support/runs.js";
import { runProgram } from "../support/child.js";
import { bits } from "../support/compare.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import { attacks } from "./support/attacks.js";

const addon = findAddon("cuda-emulated").addon;
const program = (name: string): URL => new URL(`support/${name}.ts`, import.meta.url);
const onCuda = { STEPSIZE_TEST_ADDON: "cuda-emulated" };
const folder = temporaryFolders();
const isThere = { skip: addon === undefined };
const hasDriver = existsSync("/proc/driver/nvidia/version");

async function opened(name: string, env: Readonly<Record<string, string>>): Promise<Record<string, unknown>> {
  const { stdout, stderr, code } = await runProgram(program("open-cuda"), [name], [], env);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout);
}

describe("if CUDA cannot be used", isThere, () => {
  it.each([
    {
      env: { STEPSIZE_EMULATED_DRIVER: "0" },
      words: hasDriver
        ? "the NVIDIA driver was found (libcuda.so.1) and cannot be used: "
        : "there is no NVIDIA driver on this machine (libcuda.so.1 was not found)",
    },
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
  ] as { env: Record<string, string>; words: string }[])(
    "openDevice throws the reason: $env",
    async ({ env, words }) => {
      const outcome = await opened("cuda:emulated", env);
      expect(outcome).toMatchObject({ error: "StepsizeError", code: "not-found" });
      expect(outcome["message"]).toContain(words);
      expect(outcome["message"]).toMatch(/^cuda:emulated: /);
    },
  );

  it("openDevice says why the driver's library cannot be loaded", async () => {
    const library = join(folder(), "libcuda.so.1");
    writeFileSync(library, "This is no library. ".repeat(50));
    const env = { STEPSIZE_EMULATED_DRIVER: "0", LD_LIBRARY_PATH: dirname(library) };
    const outcome = await opened("cuda:emulated", env);
    expect(outcome).toMatchObject({
      code: "not-found",
      message: `cuda:emulated: the NVIDIA driver cannot be loaded: ${library}: invalid ELF header`,
    });
  });

  it("a newer driver, or one of several GPUs, is accepted", async () => {
    const outcome = await opened("cuda:emulated", { STEPSIZE_EMULATED_DRIVER: "13020", CUDA_VISIBLE_DEVICES: "1" });
    expect(outcome).toMatchObject({ name: "cuda:emulated", value: 2, facts: { name: "Emulated GPU 1" } });
  });
});

describe("the addon for GPUs", () => {
  const report = findAddon("cuda");

  it.skipIf(report.file === undefined)("loads without a driver, and openDevice throws the reason", async () => {
    // It once did not load, because its thread-local variables did not fit into what the loader reserves for them.
    expect(report.problem).toBeUndefined();
    const error = await openDevice("cuda:0").then(
      async (device) => await device.close(),
      (reason: unknown) => reason,
    );
    if (error !== undefined)
      expect(error).toMatchObject({ code: "not-found", message: expect.stringMatching(/driver|GPU/) });
  });
});

describe("opening a device by name", () => {
  it("auto never opens the emulated GPU, and it is not listed", async () => {
    const outcome = await opened("auto", {});
    expect(outcome["name"]).toMatch(/^(cpu|cuda:\d+)$/);
    expect(outcome["listed"]).not.toContain("cuda:emulated");
    expect(outcome["name"] === "cpu").toBe(!(outcome["listed"] as string[]).includes("cuda:0"));
  });

  it("auto with an option of the CPU opens the CPU", async () => {
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

  it("refuses a GPU that does not exist", async () => {
    const outcome = await opened("cuda:7", {});
    // If the addon is not built, the error names the addon.
    expect(["not-found", "invalid-argument"]).toContain(outcome["code"]);
    if (!addon) return;
    expect(() => new addon.NativeDevice({ index: 7 })).toThrow(/^index: this machine has 2 GPUs, from 0 on; got 7$/);
  });

  it("refuses options of the CPU", isThere, async () => {
    for (const options of [{ threads: 2 }, { instructionSet: "avx2" }])
      await expectError(() => openDevice("cuda:emulated", options), "invalid-argument", "options of the CPU");
  });
});

describe("if the memory is full", isThere, () => {
  it("an error names the holders of memory, and released memory can be used again", async () => {
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
    // All 64 MiB except for a few tables: 16 tensors of 4 MiB.
    expect(seen.pieces).toBeGreaterThanOrEqual(15);
    expect(seen.values).toEqual(Array.from({ length: seen.pieces }, (_, i) => i));
    expect(seen).toMatchObject({ reused: 77, cached: true, large: 12 * 2 ** 20 });
    expect(seen.step).toMatchObject({ code: "out-of-memory" });
    expect(seen).toMatchObject({ iteration: 0, keys: ["state", "updates"], before: 1, after: 0.5 });
    expect(seen.stats).toMatchObject({ iteration: 1, updates: 1 });
  });

  it("an operation's scratch memory is taken from the cache for tensors, or the error says that none is left", async () => {
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

describe("segments that small tensors share", isThere, () => {
  // By default, each tensor of the emulator has a segment, so that an access beyond a tensor is found.
  it("are used by tensors of up to half of one, and change no result", async () => {
    const run = async (segment: number) => {
      const env = { STEPSIZE_EMULATED_SEGMENT: String(segment) };
      const { stdout, stderr, code } = await runProgram(program("cuda-segments"), [], [], env);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      return JSON.parse(stdout);
    };
    const size = 2 ** 20;
    const [shared, apart] = [await run(size), await run(0)];
    const bytes = 100 * 4096;
    expect(shared.small).toMatchObject({ allocated: bytes, cached: size - bytes, tensors: 100 });
    expect(apart.small).toMatchObject({ allocated: bytes, cached: 0, tensors: 100 });
    // A large tensor gets a segment of its size.
    expect(shared.large).toMatchObject({ allocated: bytes + 2 ** 21, cached: size - bytes });
    expect(shared.disposed).toMatchObject({ allocated: 0, cached: size + 2 ** 21, tensors: 0 });
    // The pieces were joined: other tensors fit into the same memory.
    expect(shared.again).toMatchObject({ allocated: 100 * 3840, cached: size + 2 ** 21 - 100 * 3840 });
    for (const seen of [shared, apart]) {
      expect(seen).toMatchObject({ right: true, replayed: true });
      expect(seen.trimmed).toMatchObject({ allocated: 0, cached: 0 });
      expect(seen["after the capture"]).toMatchObject({ allocated: 0, cached: 0 });
    }
    // The arena of a capture takes only what it needs from a segment that has room.
    expect(shared.captured.allocated).toBe(apart.captured.allocated);
    expect(shared.losses).toEqual(apart.losses);
    // A limit below the size of a segment leaves room for tensors.
    expect(shared.limited).toMatchObject({ allocated: 20 * 4096, cached: 0 });
  });
});

describe("two GPUs", isThere, () => {
  it("destroys the streams and events of each while it is the current device", async () => {
    const { stdout, stderr, code } = await runProgram(program("cuda-two-devices"), [], ["--expose-gc"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(stdout)).toEqual([3, 3, 4]);
  });
});

// As on compute capability 8.6 and 8.9, which the RTX 30 and RTX 40 have.
describe("with 99 KiB of shared memory", isThere, () => {
  it("every product and every head size gives the same bits as with more", async () => {
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

  it("attention whose tiles do not fit is refused by its name, the size of a head and the bytes", async () => {
    const env = { STEPSIZE_EMULATED_SHARED: String(64 * 1024) };
    const { stdout, stderr, code } = await runProgram(program("cuda-shared"), [], [], env);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const errors: string[] = JSON.parse(stdout).errors.filter((error: string) => error.includes("heads of"));
    // Three tiles of 32 rows of 256 numbers, padded by four.
    const shape = "[1,40,1,256]";
    expect(errors).toContain(
      `float32 heads of 256: attention(float32${shape}, float32${shape}, float32${shape}): heads of 256 numbers need ` +
        `${3 * 32 * 260 * 4} bytes of shared memory in a block, but the device has ${64 * 1024}`,
    );
    // Five tiles of 64 rows of 128 numbers, for queries and for two stages of keys and values.
    expect(errors.find((error) => error.startsWith("bfloat16 heads of 128: attention"))).toMatch(
      new RegExp(`: heads of 128 numbers need ${5 * 64 * 128 * 2} bytes of shared memory in a block, but`),
    );
    for (const size of [30, 32]) expect(errors.join("\n")).not.toContain(`heads of ${size}:`);
  });
});

describe("an emulated GPU", isThere, async () => {
  const [device, other] = addon ? [await openDevice("cuda:emulated"), await openDevice("cuda:emulated")] : [];
  afterAll(() => Promise.all([device?.close(), other?.close()]));
  const [gpu, second] = [device as Device, other as Device];

  it("creates no graph of a capture in which an operation failed", async () => {
    const wide = zeros(gpu, [0, 3e9]);
    const x = full(gpu, [4], 1);
    const attempt = () => {
      fill(x, 2);
      argmax(wide);
    };
    const words = ["argmax(float32[0,3000000000])", "3000000000 columns, at most 2147483647 on CUDA"];
    await expectError(() => gpu.capture(attempt), "device-failed", ...words);
    // The error belongs to the capture or to the result, and later work is not affected.
    expect(await x.read()).toEqual(Float32Array.of(1, 1, 1, 1));
    await expectError(() => argmax(wide).read(), "device-failed", ...words);
    await gpu.synchronize();
    const capture = gpu.capture(() => fill(x, 3));
    capture.replay();
    expect(await x.read()).toEqual(Float32Array.of(3, 3, 3, 3));
    capture.dispose();
  });

  it("executes every upload in stream order, whichever way it is copied", async () => {
    // Sizes below and above the limit from which uploads use a separate stream, whose slots grow during the test.
    const sizes = [10, 20_000, 16_384, 100_000, 20_000, 300_000, 5, 300_000, 300_000, 16_385];
    const found: Promise<number>[] = [];
    const written: Tensor[] = sizes.map((size) => full(gpu, [size], 0));
    for (let round = 0; round < 3; round++)
      for (const [i, size] of sizes.entries()) {
        const x = written[i] as Tensor;
        // Read by work that is enqueued before the next upload overwrites the memory.
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

  it("finishes enqueued work before it closes, and refuses later calls", async () => {
    const closing = await openDevice("cuda:emulated");
    const x = full(closing, [2 ** 20], 0);
    for (let i = 1; i <= 200; i++) fill(x, i);
    const value = x.read();
    await closing.close();
    expect((await value)[2 ** 20 - 1]).toBe(200);
    for (const call of [() => x.read(), () => fill(x, 1), () => closing.recordEvent(), () => closing.close()])
      await expectError(call, "invalid-state", "the device was closed");
    x.dispose();
  });

  it("measures the time of work on the GPU", async () => {
    const x = full(gpu, [2 ** 20], 0);
    const empty = await gpu.time(() => {});
    const busy = await gpu.time(() => {
      for (let i = 0; i < 20; i++) fill(x, i);
    });
    expect(empty).toBeGreaterThanOrEqual(0);
    expect(busy).toBeGreaterThan(empty);
    x.dispose();
  });

  it("works alongside another GPU, each in its own order", async () => {
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

  describe("caller-owned memory", () => {
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
    ] as const)("gets the same bits as tensors in a step: $Rule.name $dtype", async ({ Rule, dtype }) => {
      const parameters = [size, 3].map((count, i) => parameterOf(gpu, count, "", i + 1, dtype));
      const callerTensors = [size, 3].map((count, i) => tensor(gpu, initialValues(count, i + 1), [count], { dtype }));
      const gradients = [size, 3].map((count) => tensor(gpu, new Float32Array(count), [count], { dtype }));
      const more = { masterWeights: false, momentType: "bfloat16" } as const;
      const tensors = new Rule(parameters, { ...options, ...more });
      const pointers = new Rule(
        callerTensors.map((one) => place(one)),
        { ...options, ...more },
      );
      for (let step = 0; step < 5; step++) {
        for (const [i, parameter] of parameters.entries()) {
          setGradient(parameter, gradientValues(parameter.size, step, 100 * i));
          copy(gradients[i]!, parameter.grad!);
        }
        tensors.step();
        // The step is enqueued as for tensors, so the order of the caller's calls is kept.
        pointers.step(gradients.map((one) => place(one)));
      }
      for (const [i, parameter] of parameters.entries())
        expect(bits(await callerTensors[i]!.read()).equals(bits(await parameter.read())), `parameter ${i}`).toBe(true);
      expect(await pointers.stats()).toEqual(await tensors.stats());
      expect(pointers.iteration).toBe(5);
    });

    it.each([0, 1, 3, 5])(
      "may start %d elements into an allocation, and the surrounding elements stay unchanged",
      async (from) => {
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
      },
    );

    const x = addon ? full(gpu, [64], 1) : (undefined as never);
    const gradient = addon ? full(gpu, [64], 1) : (undefined as never);

    it.each([
      ["an address outside all allocations", () => ({ devicePointer: 4096n, length: 4 })],
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
      ["an address that is not a bigint", { devicePointer: 4096, length: 4 }, "devicePointer: bigint"],
      ["half an element", { devicePointer: 4096n, length: 1.5 }, "length"],
      ["a negative length", { devicePointer: 4096n, length: -1 }, "length"],
      ["a type that cannot be trained", { devicePointer: 4096n, length: 4, dtype: "int32" }, "float32 or bfloat16"],
    ])("refuses %s", async (_, wrong, words) => {
      const call = () => new SGD([wrong as never], { lr: 1, device: gpu }).step([wrong as never]);
      await expectError(call, "invalid-argument", words);
    });

    it("refuses an address that is not a multiple of its type's size, which would make a GPU fail permanently", async () => {
      const memory = full(gpu, [64], 1);
      const odd = { devicePointer: memory.devicePointer + 2n, length: 4 };
      const attempts = [
        () => new SGD([odd], { lr: 1, device: gpu }).step([place(gradient, 0, 4)]),
        () => new SGD([place(memory, 8, 4)], { lr: 1, device: gpu }).step([odd]),
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

    it("refuses ranges that overlap written memory", async () => {
      const pair = new SGD([place(x, 0, 32), place(x, 31, 32)], { lr: 1, device: gpu });
      const gradients = [place(gradient, 0, 32), place(gradient, 0, 32)];
      await expectError(() => pair.step(gradients), "invalid-argument", "overlaps");
      const itself = new SGD([place(x, 0, 32)], { lr: 1, device: gpu });
      await expectError(() => itself.step([place(x, 16, 32)]), "invalid-argument", "overlaps");
      // Adjacent ranges do not overlap. Gradients are only read, so they may overlap.
      const apart = new SGD([place(x, 0, 32), place(x, 32, 32)], { lr: 0, device: gpu });
      apart.step(gradients);
      expect(await x.read()).toEqual(new Float32Array(64).fill(1));
    });

    it("requires the device option", async () => {
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

    it("requires one gradient of the right kind, type and length for each parameter", async () => {
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

    it("cannot have master weights for bfloat16", async () => {
      const low = tensor(gpu, initialValues(8), [8], { dtype: "bfloat16" });
      const optimizer = new SGD([place(low)], { lr: 1, device: gpu });
      await expectError(() => optimizer.step([place(low)]), "unsupported", "masterWeights: false");
    });

    it("refuses host arrays", async () => {
      const optimizer = new SGD([new Float32Array(4)], { lr: 1, device: gpu });
      await expectError(
        () => optimizer.step([new Float32Array(4)]),
        "invalid-argument",
        "an array cannot be used on this device",
      );
    });

    it("may be empty, at any address", async () => {
      const nothing = { devicePointer: 0n, length: 0 };
      const optimizer = new SGD([nothing, place(x, 0, 4)], { lr: 0, device: gpu });
      optimizer.step([nothing, place(gradient, 0, 4)]);
      expect(await optimizer.stats()).toMatchObject({ updates: 1 });
    });

    it("can be captured", async () => {
      const [callerTensor, trained] = [tensor(gpu, initialValues(64)), parameterOf(gpu, 64)];
      setGradient(trained, gradientValues(64, 0));
      const pointers = new AdamW([place(callerTensor)], { lr: 0.01, device: gpu });
      const tensors = new AdamW([trained], { lr: 0.01 });
      pointers.tabulate();
      const capture = gpu.capture(() => pointers.step([place(trained.grad!)]));
      capture.replay(5);
      for (let step = 0; step < 5; step++) tensors.step();
      expect(bits(await callerTensor.read()).equals(bits(await trained.read()))).toBe(true);
      capture.dispose();
    });
  });

  describe("events", () => {
    it("order the work of two streams: one reads what the other wrote, and the other waits before it continues", async () => {
      const many = 2 ** 20;
      const gradient = full(gpu, [many], 0);
      const parameter = full(second, [many], 0);
      await Promise.all([gpu.synchronize(), second.synchronize()]);
      const pointer = (one: Tensor) => ({ devicePointer: one.devicePointer, length: many });
      const optimizer = new SGD([pointer(parameter)], { lr: 1, device: second });
      for (let round = 1; round <= 5; round++) {
        // The fills take long enough for the other stream to read an earlier value if it did not wait.
        for (let i = 0; i < 20; i++) fill(gradient, 1000 + i);
        fill(gradient, -1);
        second.waitForEvent(gpu.recordEvent());
        optimizer.step([pointer(gradient)]);
        gpu.waitForEvent(second.recordEvent());
      }
      const values = (await parameter.read()) as Float32Array;
      expect(values.findIndex((value) => value !== 5)).toBe(-1);
    });

    it("can be waited for by the same device, and long after they were reached", async () => {
      const x = full(gpu, [4], 3);
      const event = gpu.recordEvent();
      await gpu.synchronize();
      gpu.waitForEvent(event);
      second.waitForEvent(event);
      expect(await x.read()).toEqual(new Float32Array(4).fill(3));
      await second.synchronize();
    });

    it.each([0n])("refuses %d, which is not an event", async (event) => {
      await expectError(() => gpu.waitForEvent(event), "invalid-argument", "event: ");
      await gpu.synchronize();
    });

    it.each([undefined, null, 1, "1", {}, -1n, 2n ** 64n])("refuses %s, which cannot be an event", async (event) => {
      await expectError(() => gpu.waitForEvent(event as never), "invalid-argument", "event: expected");
    });

    it("cannot be captured", async () => {
      const event = gpu.recordEvent();
      for (const call of [() => void gpu.recordEvent(), () => gpu.waitForEvent(event)])
        await expectError(() => gpu.capture(call), "invalid-state", "cannot be captured");
      await gpu.synchronize();
    });

    it("are not needed if both devices use one stream", async () => {
      const one = await openDevice("cuda:emulated");
      const two = await openDevice("cuda:emulated", { stream: one.stream });
      expect(two.stream).toBe(one.stream);
      const count = 1_000_000;
      const x = full(one, [count], 0);
      // Enough work for the copy to come too early if it did not wait.
      for (let value = 1; value <= 20; value++) fill(x, value);
      const y = tensor(two, new Float32Array(count));
      const pointer = { devicePointer: x.devicePointer, length: count };
      const parameter = { devicePointer: y.devicePointer, length: count };
      new SGD([parameter], { lr: 1, device: two }).step([pointer]);
      expect((await y.read()).every((value) => value === -20)).toBe(true);
      await two.close();
      await one.close();
    });

    it("are not supported by the CPU", async () => {
      const cpu = await openDevice("cpu");
      await expectError(() => cpu.recordEvent(), "invalid-argument");
      await expectError(() => cpu.waitForEvent(1n), "invalid-argument");
      await cpu.close();
    });
  });

  it("gives the address of a model's parameter, and 0 after it was disposed of", () => {
    const parameter = new Parameter(tensor(gpu, [1, 2, 3]));
    expect(parameter.devicePointer).toBeGreaterThan(0n);
    parameter.dispose();
    expect(parameter.devicePointer).toBe(0n);
  });
});

describe("a loop that enqueues without waiting", isThere, () => {
  const results = { eager: 1500, read: true, replayed: [2500, 2500 + 3500] };
  it.each([
    // A driver's queue that is full would block the thread, which then could not be terminated.
    { title: "leaves room in the driver's queue", env: { STEPSIZE_EMULATED_FULL_QUEUE: "fails" } },
    { title: "works if the driver's queue is short", env: { STEPSIZE_EMULATED_QUEUE: "5" } },
  ] as { title: string; env: Record<string, string> }[])("$title", async ({ env }) => {
    const { stdout, stderr, code } = await runProgram(program("cuda-queue"), [], [], env);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(stdout)).toEqual(results);
  });

  it("is blocked before 480 MB of arrays are queued", async () => {
    const { code, stdout, stderr } = await runProgram(program("never-wait"), ["cuda:emulated", "200"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    // A quarter of a gigabyte, and memory that the C library's allocator keeps.
    expect(Number(stdout)).toBeLessThan(400e6);
  });
});

describe("termination of threads and processes", isThere, () => {
  it("worker threads exit cleanly with queued work, ten of ten times", async () => {
    const ended = await runProgram(program("terminate-workers"), [], [], onCuda);
    expect(ended).toMatchObject({ code: 0, stdout: "ok\n", stderr: "" });
  });

  // The work would take days. If it does not end, the test's time limit stops it.
  it("endless replays and endless loops end with their worker thread", async () => {
    const ended = await runProgram(program("terminate-replay"), ["cuda:emulated"]);
    expect(ended).toMatchObject({ code: 0, stdout: "ok\n", stderr: "" });
  });

  it.each([
    { way: "exit", code: 7, seen: "" },
    { way: "throw", code: 1, seen: "on purpose" },
    { way: "nothing", code: 0, seen: "" },
  ])("the process exits with work in flight ($way)", async ({ way, code, seen }) => {
    const ended = await runProgram(program("exit-early"), [way], [], onCuda);
    expect(ended).toMatchObject({ code, signal: null });
    expect(ended.stderr).toContain(seen);
  });
});

// Runs the hostile programs of surface.test.ts on this backend. See there for details.
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
