import type { Device, DeviceOptions } from "../native/index.js";
import type { Finding, Json } from "./report.js";

/** How much work a case may do: `full` on hardware, `reduced` if kernels are emulated or interpreted. */
export type Scale = "full" | "reduced";

/** What a case is given. All devices are closed after the last case of the process. */
export interface CaseContext {
  /** The device under test. */
  readonly device: Device;
  readonly scale: Scale;
  /** Returns a CPU device for the expected values, opened at the first call. */
  reference(): Promise<Device>;
  /** Opens the device under test again, with options. */
  open(options: DeviceOptions): Promise<Device>;
  /** Reports figures before the case ends, so that they are not lost if it does not. Later figures are added. */
  measured(figures: Readonly<Record<string, Json>>): void;
}

/** A check that passes or fails. */
export interface CheckCase {
  readonly name: string;
  /** Does the check. An exception is a finding too. */
  run(context: CaseContext): Promise<Finding>;
}

/** Cases that run one after another in one process. After a failure, the rest runs in a new process. */
export interface CaseGroup {
  /** The name, without commas and unique in its stage. `--only` takes a list of them. */
  readonly name: string;
  readonly cases: readonly CheckCase[];
  /** Seconds that a case may take on hardware, if not {@link defaultLimit}. */
  readonly limit?: number;
}

/** A part of the check. */
export interface Stage {
  readonly name: string;
  readonly title: string;
  /**
   * The groups, each of which runs in a process of its own. The process of the command and those of the groups both call
   * this, so it must not depend on a device or on the time.
   */
  groups(): readonly CaseGroup[];
  /** Whether groups may run at the same time. Default false. */
  readonly parallel?: boolean;
  /** Whether the stage runs only if it is named. Default false. */
  readonly optional?: boolean;
}

/** Seconds that a case may take on hardware. */
export const defaultLimit = 120;

/** Returns how much work a case may do on a device. */
export function scaleOf(device: string): Scale {
  return /^cuda:(emulated|ptx)$/.test(device) ? "reduced" : "full";
}

/** Returns how many times longer than on hardware a case may take on a device. */
export function patienceFor(device: string): number {
  return device === "cuda:ptx" ? 30 : device === "cuda:emulated" ? 5 : 1;
}
