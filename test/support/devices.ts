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

/** Every device of this machine, the CPU once per instruction set. */
export const devices: readonly DeviceUnderTest[] = [
  ...instructionSets.map((instructionSet) => ({
    label: `cpu ${instructionSet}`,
    name: "cpu",
    options: { instructionSet },
  })),
];

// The emulated GPU is there wherever a C++ compiler and Node's headers are; real ones where a driver is.
const emulated = findAddon("cuda-emulated").addon ? ["cuda:emulated"] : [];
const gpus = listDevices().filter(({ name }) => /^cuda:\d/.test(name));

/** Those of CUDA, which have the optimizer's operations alone so far. */
export const cudaDevices: readonly DeviceUnderTest[] = [...emulated, ...gpus.map(({ name }) => name)].map((name) => ({
  label: name,
  name,
  options: {},
}));

/** Every device that can make an optimizer's step. */
export const stepDevices: readonly DeviceUnderTest[] = [...devices, ...cudaDevices];

/** Those that a debugging run asks for. */
const chosen = process.env["STEPSIZE_TEST_DEVICES"];
/** Opens a device under test, with options of the test's own. */
export function open({ name, options }: DeviceUnderTest, more: DeviceOptions = {}): Promise<Device> {
  return openDevice(name, { ...options, ...more });
}

/** All of them, open until the test file is done. */
export async function openAll(more: DeviceOptions = {}, on = chosen ? stepDevices.filter(({ label }) => label.includes(chosen)) : devices): Promise<{ label: string; device: Device }[]> {
  const opened = await Promise.all(on.map(async (one) => ({ label: one.label, device: await open(one, more) })));
  afterAll(async () => {
    await Promise.all(opened.map(({ device }) => device.close()));
  });
  return opened;
}

/** Defines a suite once per device. */
export async function onEveryDevice(name: string, suite: (device: Device) => void, on = chosen ? stepDevices.filter(({ label }) => label.includes(chosen)) : devices): Promise<void> {
  for (const { label, device } of await openAll({}, on))
    describe(`${name} (${label})`, () => {
      suite(device);
    });
}
