import { expectFunction } from "../arguments.js";
import { describe, invalidArgument, StepsizeError } from "../errors.js";
import { expectOptions, optionNames } from "../options.js";
import { isPromise, messageOf } from "../realms.js";
import type {
  Addon,
  Attributes,
  MemoryStatistics,
  NativeDevice,
  NativeDeviceOptions,
  NativeList,
  NativeTensor,
} from "./addon.js";
import { Capture } from "./capture.js";
import { findAddon, loadAddon } from "./load.js";

/** Options of {@link openDevice}. */
export interface DeviceOptions {
  /** Threads that kernels use; default: as many CPUs as the process may use, container quotas respected. */
  readonly threads?: number;
  /** Bytes that tensors may hold on the device; default: no limit but the machine's. */
  readonly memoryLimit?: number;
  /** Forces a build of the CPU kernels: `avx512`, `avx2` or `portable`; default: the best this CPU has. */
  readonly instructionSet?: string;
  /** A `cudaStream_t` of another program, as a bigint, to work in; default: a stream of the device's own. */
  readonly stream?: bigint;
}

/**
 * A device is a stream: work is enqueued in order and calls return at once. Only `await device.synchronize()` and the
 * reading of a tensor wait.
 *
 * A program that enqueues and never waits is held back: once 16,384 operations or 256 MB of uploaded values wait on a
 * CPU, a call that enqueues blocks until half of them are done. On a GPU the driver's queue has a bound of its own.
 *
 * The error of an operation that fails after its call, over a label that is no class for example, belongs to its result.
 * That, and everything computed from it or changed in place with it, rejects with the error whenever it is read, until
 * it is written with other values. Nobody else gets the error, and the device goes on.
 */
export class Device {
  /** `cpu`, or `<backend>:<index>`. */
  readonly name: string;
  /** @internal */
  readonly native: NativeDevice;
  /** @internal The work that is being captured. */
  capturing: Capture | undefined;
  readonly #ids: ReadonlyMap<string, number>;

  /** @internal Use {@link openDevice}. */
  constructor(name: string, addon: Addon, native: NativeDevice) {
    this.name = name;
    this.native = native;
    this.#ids = new Map(addon.operations.map((operation, id) => [operation, id]));
  }

  /** @internal Enqueues an operation of the table by name. */
  enqueue(
    operation: string,
    tensors: readonly NativeTensor[],
    attributes?: Attributes,
    lists?: readonly NativeList[],
  ): NativeTensor[] {
    return this.native.enqueue(this.#idOf(operation), tensors, attributes, lists);
  }

  /** Whether the device has a kernel for the operation of this name. */
  implements(operation: string): boolean {
    return this.native.implements(this.#idOf(operation));
  }

  /**
   * Waits until everything enqueued so far is done. An operation that failed does not reject it: its result does.
   * @throws StepsizeError `device-failed` if the device itself has failed, as a GPU does; `invalid-state` if it was closed.
   */
  synchronize(): Promise<void> {
    return this.promised(() => this.native.synchronize());
  }

  /**
   * @internal Asks the addon for a promise. What the addon throws rejects it; inside `capture` it ends the capture, too,
   * as a replay could not do what was refused.
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
   * Records the work that `work` enqueues, without doing it, to be done as often as wanted by {@link Capture.replay}
   * with nothing left for the host but one call: a CUDA graph, or the list of records on the CPU. What is made inside
   * lives in memory of its own, and holds the last replay's values; what is disposed of inside makes room for what is
   * made after it inside.
   *
   * A replay does the same with the same memory. So what the host decides or does each time (reading, writing a
   * tensor, a learning rate that it computes: see `optimizer.tabulate`) cannot be part of it.
   *
   * @param work not async: what comes after an `await` would not be captured
   * @throws StepsizeError `invalid-state` that names what cannot be captured, `out-of-memory` or `device-failed` with the
   * operation that could not be recorded; nothing has been done then.
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
      // What it recorded goes; the reason is the error that comes out.
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
   * Later work on this device waits for an event of another program, a `cudaEvent_t` as a bigint. The handle is trusted:
   * one that is no event ends the process.
   * @throws StepsizeError `invalid-argument` on a CPU.
   */
  waitForEvent(event: bigint): void {
    this.native.waitForEvent(event);
  }

  /**
   * A `cudaEvent_t` that is reached when all work enqueued so far is done, for other programs to wait for. It stays the
   * device's, and stands for this call until the next one.
   * @throws StepsizeError `invalid-argument` on a CPU.
   */
  recordEvent(): bigint {
    return this.native.recordEvent();
  }

  /**
   * The `cudaStream_t` that the device works in, as a bigint, for other programs to work in, too; the device's until it
   * is closed.
   * @throws StepsizeError `invalid-argument` on a CPU.
   */
  get stream(): bigint {
    return this.native.streamHandle();
  }

  /** How long the work that `work` enqueues takes on the device, in milliseconds. */
  time(work: () => void): Promise<number> {
    return this.promised(() => {
      expectFunction("work", work);
      this.native.startTimer();
      work();
      return this.native.stopTimer();
    });
  }

  /** Bytes and pieces of memory in use. */
  memory(): MemoryStatistics {
    return this.native.memory();
  }

  /** Gives memory that no tensor holds back to the system. */
  trim(): void {
    this.native.trim();
  }

  /** Facts about the device: the kernels it runs, its threads. */
  describe(): Record<string, string> {
    return this.native.describe();
  }

  /** Waits for the work enqueued so far and closes the device; its tensors can be disposed but no longer used. */
  close(): Promise<void> {
    return this.promised(() => this.native.close());
  }

  #idOf(operation: string): number {
    const id = this.#ids.get(operation);
    if (id === undefined) throw new StepsizeError("unsupported", `there is no operation ${describe(operation)}`);
    return id;
  }
}

/** @internal Throws unless `value` is a device. */
export function expectDevice(name: string, value: unknown): void {
  if (!(value instanceof Device)) invalidArgument(name, "a device, as openDevice(…) gives it", value);
}

const deviceNames = optionNames<DeviceOptions>({
  threads: true,
  memoryLimit: true,
  instructionSet: true,
  stream: true,
});

/** Where a device of this name is: the addon, and its index there. */
function resolveName(name: string): { addon: string; index: number } | undefined {
  if (typeof name !== "string") return undefined;
  if (name === "cpu") return { addon: "cpu", index: 0 };
  // For tests of CUDA code on machines without a GPU: what g++ makes of the kernels, and what nvcc does. Never chosen by
  // themselves.
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
  return new Device(name === "cuda" ? "cuda:0" : name, addon, native);
}

function openNative(addon: Addon, options: NativeDeviceOptions): NativeDevice {
  try {
    return new addon.NativeDevice(options);
  } catch (error) {
    // Without memory for the object itself, the addon cannot make its own error.
    if (messageOf(error) !== "std::bad_alloc") throw error;
    throw new StepsizeError("out-of-memory", "openDevice: the system has no memory left for a device");
  }
}

function hasGpu(): boolean {
  const { addon } = findAddon("cuda");
  return addon !== undefined && addon.describe()["problem"] === undefined;
}

/**
 * Opens a device: `"cpu"`, `"cuda"` or `"cuda:1"` and so on for a GPU, or `"auto"` for the first GPU where there is one,
 * else the CPU.
 *
 * @throws StepsizeError `not-found` where the device's addon is not there or CUDA cannot be used, with the reason;
 * `invalid-argument` for a name or an option that is not one.
 */
export async function openDevice(name = "auto", options: DeviceOptions = {}): Promise<Device> {
  expectOptions("openDevice", deviceNames, options);
  if (name !== "auto") return openNow(name, options);
  // Options of the CPU ask for it.
  const forCpu = options.threads !== undefined || options.instructionSet !== undefined;
  return openNow(!forCpu && hasGpu() ? "cuda:0" : "cpu", options);
}

/** @internal The device of this name, one for all who ask: for memory that belongs to nobody's device. */
export function openDeviceSync(name: "cpu"): Device {
  const known = shared.get(name);
  if (known) return known;
  const device = openNow(name, {});
  shared.set(name, device);
  return device;
}

const shared = new Map<string, Device>();

/** The devices that {@link openDevice} would open by name, and why others are not there. */
export function listDevices(): { name: string; facts: Record<string, string>; problem?: string }[] {
  const cpu = findAddon("cpu");
  const list = [{ name: "cpu", facts: cpu.addon?.describe() ?? {}, ...(cpu.problem && { problem: cpu.problem }) }];
  const cuda = findAddon("cuda");
  const facts = cuda.addon?.describe() ?? {};
  const problem = cuda.problem ?? facts["problem"];
  if (problem !== undefined) return [...list, { name: "cuda", facts, problem }];
  const { count, runtime, driver } = facts;
  for (let i = 0; i < Number(count); i++)
    list.push({ name: `cuda:${i}`, facts: { name: facts[`device ${i}`], runtime, driver } as Record<string, string> });
  return list;
}
