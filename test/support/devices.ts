import { afterAll, describe } from "vitest";
import { type Device, type DeviceOptions, findAddon, listDevices, openDevice } from "#lib/native/index.js";

/** A device that the suites run on, as `openDevice` is told to open it. */
export interface DeviceUnderTest {
  readonly label: string;
  readonly name: string;
  readonly options: DeviceOptions;
}

const cpu = listDevices().find(({ name }) => name === "cpu");
// The slowest first: it is the one that every machine has.
const instructionSets = (cpu?.facts["instructionSets"] ?? "").split(" ").filter(Boolean).reverse();

/** The CPU, once per instruction set. */
export const cpuDevices: readonly DeviceUnderTest[] = instructionSets.map((instructionSet) => ({
  label: `cpu ${instructionSet}`,
  name: "cpu",
  options: { instructionSet },
}));

// The emulated GPU is there wherever a C++ compiler and Node's headers are; real ones where a driver is.
const emulated = findAddon("cuda-emulated").addon ? ["cuda:emulated"] : [];
const gpus = listDevices()
  .map(({ name }) => name)
  .filter((name) => /^cuda:\d/.test(name));

/** Those of CUDA. */
export const cudaDevices: readonly DeviceUnderTest[] = [...emulated, ...gpus].map((name) => ({
  label: name,
  name,
  options: {},
}));

/** Every device of this machine. */
export const devices: readonly DeviceUnderTest[] = [...cpuDevices, ...cudaDevices];

/** Those that are not emulated, for what would take the emulator minutes. */
export const physicalDevices = devices.filter(({ name }) => name !== "cuda:emulated");

/** Opens a device under test, with options of the test's own. */
export function open({ name, options }: DeviceUnderTest, more: DeviceOptions = {}): Promise<Device> {
  return openDevice(name, { ...options, ...more });
}

/** All of them, open until the test file is done. */
export async function openAll(more: DeviceOptions = {}, on = devices): Promise<{ label: string; device: Device }[]> {
  const opened = await Promise.all(on.map(async (one) => ({ label: one.label, device: await open(one, more) })));
  afterAll(async () => {
    await Promise.all(opened.map(({ device }) => device.close()));
  });
  return opened;
}

/** Defines a suite once per device. */
export async function onEveryDevice(name: string, suite: (device: Device) => void, on = devices): Promise<void> {
  for (const { label, device } of await openAll({}, on))
    describe(`${name} (${label})`, () => {
      suite(device);
    });
}
