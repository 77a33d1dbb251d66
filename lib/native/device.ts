import { invalidArgument, StepsizeError } from "../errors.js";
import type { Addon, Attributes, MemoryStatistics, NativeDevice, NativeTensor } from "./addon.js";
import { findAddon, loadAddon } from "./load.js";

/** Options of {@link openDevice}. */
export interface DeviceOptions {
  /** Threads that kernels use; default: as many CPUs as the process may use, container quotas respected. */
  readonly threads?: number;
  /** Bytes that tensors may hold on the device; default: no limit but the machine's. */
  readonly memoryLimit?: number;
  /** Forces a build of the CPU kernels: `avx512`, `avx2` or `portable`; default: the best this CPU has. */
  readonly instructionSet?: string;
}

/**
 * A device is a stream: work is enqueued in order and calls return at once. Only `await device.synchronize()` and the
 * reading of a tensor wait. Errors of enqueued work reject the next of these.
 */
export class Device {
  /** `cpu`, or `<backend>:<index>`. */
  readonly name: string;
  /** @internal */
  readonly native: NativeDevice;
  readonly #ids: ReadonlyMap<string, number>;

  /** @internal Use {@link openDevice}. */
  constructor(name: string, addon: Addon, native: NativeDevice) {
    this.name = name;
    this.native = native;
    this.#ids = new Map(addon.operations.map((operation, id) => [operation, id]));
  }

  /** @internal Enqueues an operation of the table by name. */
  enqueue(operation: string, tensors: readonly NativeTensor[], attributes?: Attributes): NativeTensor[] {
    return this.native.enqueue(this.#idOf(operation), tensors, attributes);
  }

  /** Whether the device has a kernel for the operation of this name. */
  implements(operation: string): boolean {
    return this.native.implements(this.#idOf(operation));
  }

  /**
   * Waits until everything enqueued so far is done.
   * @throws StepsizeError `device-failed` with the operation and its shapes, if any of it failed since the last wait.
   */
  synchronize(): Promise<void> {
    return this.native.synchronize();
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
    return this.native.close();
  }

  #idOf(operation: string): number {
    const id = this.#ids.get(operation);
    if (id === undefined) throw new StepsizeError("unsupported", `there is no operation "${operation}"`);
    return id;
  }
}

/**
 * Opens a device: `"cpu"`, or `"auto"` for the best one this machine has (today the CPU).
 *
 * @throws StepsizeError `not-found` where the device's addon is not there, `invalid-argument` for a name or an option
 * that is not one.
 */
export async function openDevice(name = "auto", options: DeviceOptions = {}): Promise<Device> {
  if (name !== "auto" && name !== "cpu") invalidArgument("device", '"auto" or "cpu"', name);
  const addon = loadAddon("cpu");
  return new Device("cpu", addon, new addon.NativeDevice(options));
}

/** The devices that {@link openDevice} would open by name, and why others are not there. */
export function listDevices(): { name: string; facts: Record<string, string>; problem?: string }[] {
  const { addon, problem } = findAddon("cpu");
  return [{ name: "cpu", facts: addon?.describe() ?? {}, ...(problem !== undefined && { problem }) }];
}
