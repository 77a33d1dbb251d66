import { expectFunction } from "../arguments.js";
import { describe, invalidArgument, StepsizeError } from "../errors.js";
import { expectOptions, optionNames } from "../options.js";
import { isPromise, messageOf } from "../realms.js";
import type {
  Addon,
  Attributes,
  Float32Products,
  MemoryStatistics,
  NativeDevice,
  NativeDeviceOptions,
  NativeList,
  NativeTensor,
  StepLayout,
} from "./addon.js";
import { Capture } from "./capture.js";
import { findAddon, loadAddon } from "./load.js";

/** Options of {@link openDevice}. */
export interface DeviceOptions {
  /**
   * Number of threads of the CPU kernels. Default: as many CPUs as the process may use, considering container quotas.
   */
  readonly threads?: number | undefined;
  /** Limit of the memory of tensors, in bytes. Default: the memory of the device. */
  readonly memoryLimit?: number | undefined;
  /**
   * Instruction set of the CPU kernels: `avx512`, `avx2` or `portable` on x64, `neon` or `portable` on arm64. Default:
   * the best one that the CPU supports.
   */
  readonly instructionSet?: string | undefined;
  /**
   * Caller-owned `cudaStream_t` to work in, as a bigint. Default: the device makes its own stream, which does not wait for
   * other streams, also not for the default stream of other programs.
   *
   * CUDA's default streams have two names. `1n` (`cudaStreamLegacy`) is the one that programs get for a null stream if
   * they were compiled without per-thread default streams, as PyTorch is. Work in it cannot be captured. `2n`
   * (`cudaStreamPerThread`) is a separate one in each thread: here it is that of the thread that calls. `0n` is refused.
   */
  readonly stream?: bigint | undefined;
  /**
   * How a GPU multiplies float32 in matrix products and convolutions, gradients included:
   *
   * - `"float32"`, the default: without tensor cores, as exactly as float32 is.
   * - `"tf32"`: on tensor cores. Every factor is rounded to TF32 first, which has the range of float32 and 10 of the 23
   *   bits of its mantissa, so a product has a relative error of up to 2⁻¹⁰. Sums stay in float32.
   *
   * Tensors, bfloat16 products, attention and all other operations are the same with both. A CPU has no `"tf32"`.
   */
  readonly float32Products?: Float32Products | undefined;
}

/**
 * A CPU or GPU that executes operations in the order in which they are enqueued.
 *
 * Calls that enqueue work return at once. Only the promises of `synchronize()` and of tensor reads wait for it. If a
 * program enqueues without waiting, the queue is bounded: a call blocks when 16,384 operations on a CPU, 512 launches on
 * a GPU, or 256 MB of uploaded values are waiting, until half of them are done. The event loop is then blocked too. A
 * loop that awaits a value or `synchronize()` now and then leaves it free.
 *
 * An operation can fail after its call, for example because of a label that is not a class. Its result is then spoiled,
 * and so is everything that is computed from it or changed in place with it. Reading spoiled memory rejects with the
 * error, until other values are written to it. Other tensors are not affected, and the device continues.
 *
 * @example
 * ```ts
 * import { openDevice, tensor } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const x = tensor(device, [[1, 2], [3, 4]]);
 * console.log(await x.matmul(x).read()); // 7, 10, 15, 22
 * await device.close();
 * ```
 */
export class Device {
  /** Name of the device: `cpu`, or `<backend>:<index>`, such as `cuda:0`. */
  readonly name: string;
  /** How the device multiplies float32 in matrix products and convolutions; see {@link DeviceOptions}. */
  readonly float32Products: Float32Products;
  /** @internal The native side of the device. */
  readonly native: NativeDevice;
  /** @internal The layout of the tensors that an optimizer step reads. */
  readonly stepLayout: StepLayout;
  /** @internal The capture in progress; `undefined` outside of `capture`. */
  capturing: Capture | undefined;
  readonly #ids: ReadonlyMap<string, number>;

  /** @internal Use {@link openDevice}. */
  constructor(name: string, addon: Addon, native: NativeDevice, float32Products: Float32Products = "float32") {
    this.name = name;
    this.float32Products = float32Products;
    this.native = native;
    this.stepLayout = addon.stepLayout;
    this.#ids = new Map(addon.operations.map((operation, id) => [operation, id]));
  }

  /** @internal Enqueues an operation by its name in the table of operations. */
  enqueue(
    operation: string,
    tensors: readonly NativeTensor[],
    attributes?: Attributes,
    lists?: readonly NativeList[],
  ): NativeTensor[] {
    return this.native.enqueue(this.#idOf(operation), tensors, attributes, lists);
  }

  /**
   * Waits until all work that was enqueued so far is done. A failed operation does not reject the promise; reading its
   * result does.
   *
   * @throws StepsizeError `device-failed` if the device itself failed; `invalid-state` if it was closed, or inside
   * `capture`. The promise rejects then.
   */
  synchronize(): Promise<void> {
    return this.promised(() => this.native.synchronize());
  }

  /**
   * @internal Calls the addon for a promise. If the call throws, the promise rejects. Inside `capture` the error also
   * ends the capture, because a replay could not do the work.
   */
  promised<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return ask();
    } catch (error) {
      const rejected = Promise.reject<T>(error);
      if (this.capturing) {
        this.capturing.refuse(error);
        rejected.catch(() => {});
      }
      return rejected;
    }
  }

  /**
   * Captures the work that a function enqueues, without executing it. {@link Capture.replay} executes it with one call,
   * as often as needed. On a GPU it is a CUDA graph, on a CPU a list of records.
   *
   * Tensors that are made inside have memory of their own, which contains the values of the last replay. Memory of
   * tensors that are disposed inside is used for later ones.
   *
   * Each replay does the same operations on the same memory. So work of the host cannot be captured: reading or writing
   * a tensor, or computing a learning rate (see `optimizer.tabulate`).
   *
   * @param work a synchronous function; work after an `await` would not be captured
   * @throws StepsizeError `invalid-argument` if `work` is not a function or returns a promise; `invalid-state` if it
   * does something that cannot be captured; `out-of-memory` or `device-failed` if an operation cannot be captured.
   * Nothing has been executed then.
   */
  capture(work: () => void): Capture {
    expectFunction("work", work);
    this.native.beginCapture();
    const capture = new Capture(this.native);
    this.capturing = capture;
    try {
      const result: unknown = work();
      if (isPromise(result)) {
        result.then(undefined, () => {});
        throw new StepsizeError(
          "invalid-argument",
          "capture: the function is async; what it awaits cannot be captured",
        );
      }
      capture.expectWhole();
    } catch (error) {
      // The capture is dropped. A further error must not hide the first one.
      try {
        this.native.endCapture().dispose();
      } catch {}
      throw error;
    } finally {
      this.capturing = undefined;
    }
    capture.end();
    return capture;
  }

  /**
   * Makes later work on this device wait for a CUDA event of another program.
   *
   * @param event a `cudaEvent_t` as a bigint. It is not checked: an invalid handle ends the process.
   * @throws StepsizeError `invalid-argument` on a CPU
   */
  waitForEvent(event: bigint): void {
    this.native.waitForEvent(event);
  }

  /**
   * Records a CUDA event after all work that was enqueued so far, for other programs to wait for.
   *
   * @returns a `cudaEvent_t` as a bigint. The device owns it, and the next call records it again.
   * @throws StepsizeError `invalid-argument` on a CPU
   */
  recordEvent(): bigint {
    return this.native.recordEvent();
  }

  /**
   * The `cudaStream_t` of the device as a bigint. Other programs may enqueue work in it until the device is closed.
   *
   * @throws StepsizeError `invalid-argument` on a CPU
   */
  get stream(): bigint {
    return this.native.streamHandle();
  }

  /**
   * Measures how long the device takes for the work that a function enqueues, in milliseconds.
   *
   * @throws StepsizeError `invalid-argument` if `work` is not a function; `invalid-state` inside `capture`. The promise
   * rejects then.
   */
  time(work: () => void): Promise<number> {
    return this.promised(() => {
      expectFunction("work", work);
      this.native.startTimer();
      work();
      return this.native.stopTimer();
    });
  }

  /** Returns how much memory tensors use. */
  memory(): MemoryStatistics {
    return this.native.memory();
  }

  /** Returns cached memory to the system. */
  trim(): void {
    this.native.trim();
  }

  /** Returns facts about the device, such as its kernels and its number of threads. */
  describe(): Record<string, string> {
    return this.native.describe();
  }

  /** Waits for the work that was enqueued so far and closes the device. Its tensors can then only be disposed. */
  close(): Promise<void> {
    return this.promised(() => this.native.close());
  }

  #idOf(operation: string): number {
    const id = this.#ids.get(operation);
    if (id === undefined) throw new StepsizeError("unsupported", `there is no operation ${describe(operation)}`);
    return id;
  }
}

/** @internal Throws `invalid-argument` unless `value` is a device. */
export function expectDevice(name: string, value: unknown): void {
  if (!(value instanceof Device)) invalidArgument(name, "a device, as openDevice(…) gives it", value);
}

const deviceNames = optionNames<DeviceOptions>({
  threads: true,
  memoryLimit: true,
  instructionSet: true,
  stream: true,
  float32Products: true,
});

/** Returns the addon of a device name, and the index of the device there; `undefined` for an unknown name. */
function resolveName(name: string): { addon: string; index: number } | undefined {
  if (typeof name !== "string") return undefined;
  if (name === "cpu") return { addon: "cpu", index: 0 };
  // For tests of CUDA code on machines without a GPU: kernels compiled by g++, and the PTX that nvcc makes of them.
  // These devices are never chosen automatically.
  if (name === "cuda:emulated") return { addon: "cuda-emulated", index: 0 };
  if (name === "cuda:ptx") return { addon: "cuda-ptx", index: 0 };
  const index = name.match(/^cuda(?::(\d{1,3}))?$/);
  return index ? { addon: "cuda", index: Number(index[1] ?? 0) } : undefined;
}

function openNow(name: string, options: DeviceOptions): Device {
  const place = resolveName(name);
  if (!place) return invalidArgument("device", '"auto", "cpu", "cuda", "cuda:0", "cuda:1", …', name);
  const addon = loadAddon(place.addon);
  const { problem } = addon.describe();
  if (problem !== undefined) throw new StepsizeError("not-found", `${name}: ${problem}`);
  const native = openNative(addon, { ...options, index: place.index });
  return new Device(name === "cuda" ? "cuda:0" : name, addon, native, options.float32Products);
}

function openNative(addon: Addon, options: NativeDeviceOptions): NativeDevice {
  try {
    return new addon.NativeDevice(options);
  } catch (error) {
    // If there is no memory for the object itself, the addon cannot make a StepsizeError.
    if (messageOf(error) !== "std::bad_alloc") throw error;
    throw new StepsizeError("out-of-memory", "openDevice: the system has no memory left for a device");
  }
}

function hasGpu(): boolean {
  const { addon } = findAddon("cuda");
  return addon !== undefined && addon.describe()["problem"] === undefined;
}

/**
 * Opens a device.
 *
 * @param name `"cpu"`; `"cuda"` or `"cuda:0"`, `"cuda:1"`, … for a GPU; or `"auto"`, the default, for the first GPU if
 * there is one, else the CPU. With the options `threads` or `instructionSet`, `"auto"` opens the CPU; with
 * `float32Products: "tf32"` and neither of them, a GPU.
 * @throws StepsizeError `not-found` if the device's addon is missing or CUDA cannot be used; `invalid-argument` for an
 * unknown name or option, or a value out of range; `out-of-memory`. The promise rejects then.
 *
 * @example
 * ```ts
 * import { openDevice } from "stepsize";
 *
 * const device = await openDevice("auto");
 * console.log(device.name, device.describe());
 * ```
 */
export async function openDevice(name = "auto", options: DeviceOptions = {}): Promise<Device> {
  expectOptions("openDevice", deviceNames, options);
  if (name !== "auto") return openNow(name, options);
  // Options that only the CPU has choose the CPU.
  const forCpu = options.threads !== undefined || options.instructionSet !== undefined;
  const forGpu = options.float32Products === "tf32";
  return openNow(!forCpu && (forGpu || hasGpu()) ? "cuda:0" : "cpu", options);
}

/** @internal Returns a shared device, for arrays that belong to no device. */
export function openDeviceSync(name: "cpu"): Device {
  const known = shared.get(name);
  if (known) return known;
  const device = openNow(name, {});
  shared.set(name, device);
  return device;
}

const shared = new Map<string, Device>();

/**
 * Returns the devices that {@link openDevice} can open by name. A device that cannot be opened has a `problem` with the
 * reason. `facts` describe the addon and the hardware.
 */
export function listDevices(): { name: string; facts: Record<string, string>; problem?: string }[] {
  const cpu = findAddon("cpu");
  const list = [{ name: "cpu", facts: cpu.addon?.describe() ?? {}, ...(cpu.problem && { problem: cpu.problem }) }];
  const cuda = findAddon("cuda");
  const facts = cuda.addon?.describe() ?? {};
  const { problem = cuda.problem, count, ...rest } = facts;
  if (problem !== undefined) return [...list, { name: "cuda", facts, problem }];
  const shared = Object.entries(rest).filter(([fact]) => !fact.startsWith("device "));
  for (let i = 0; i < Number(count); i++) {
    // The addon gives no name if CUDA cannot describe the GPU.
    const { [`device ${i}`]: name = "unknown" } = rest;
    list.push({ name: `cuda:${i}`, facts: { name, ...Object.fromEntries(shared) } });
  }
  return list;
}
