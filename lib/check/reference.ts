import { type Device, listDevices, openDevice } from "../native/index.js";

/** Returns the names of the instruction sets that this CPU can run, fastest first. */
function instructionSets(): string[] {
  const cpu = listDevices().find(({ name }) => name === "cpu");
  return cpu?.facts["instructionSets"]?.split(" ").filter(Boolean) ?? [];
}

/**
 * Opens the CPU for the expected values of a device under test.
 *
 * If that device is the CPU itself, the expected values come from other kernels than its own if this CPU can run any,
 * and from one thread. Kernels with a fused multiply-add are preferred, because only they give the optimizer's bits.
 */
export function openReference(device: Device): Promise<Device> {
  if (device.name !== "cpu") return openDevice("cpu");
  const others = instructionSets().filter((name) => name !== device.describe()["kernels"]);
  return openDevice("cpu", { threads: 1, instructionSet: others[0] });
}

/** Whether the kernels of a CPU device have a fused multiply-add, on which the bits of an optimizer step depend. */
export function hasFusedMultiplyAdd(device: Device): boolean {
  return device.describe()["kernels"] !== "portable";
}
