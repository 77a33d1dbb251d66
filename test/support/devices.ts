import { afterAll, describe, expect } from "vitest";
import { type Device, type DeviceOptions, findAddon, listDevices, openDevice } from "#lib/native/index.js";

/** A device that the suites run on, with the arguments of `openDevice`. */
export interface DeviceUnderTest {
  readonly label: string;
  readonly name: string;
  readonly options: DeviceOptions;
}

const cpu = listDevices().find(({ name }) => name === "cpu");
// The slowest instruction set comes first, because every machine has it.
const instructionSets = (cpu?.facts["instructionSets"] ?? "").split(" ").filter(Boolean).reverse();

/** The CPU, once per instruction set. */
export const cpuDevices: readonly DeviceUnderTest[] = instructionSets.map((instructionSet) => ({
  label: `cpu ${instructionSet}`,
  name: "cpu",
  options: { instructionSet },
}));

// The emulated GPU exists if a C++ compiler and Node's headers are installed, real GPUs if a driver is.
const emulated = findAddon("cuda-emulated").addon ? ["cuda:emulated"] : [];
const gpus = listDevices()
  .map(({ name }) => name)
  .filter((name) => /^cuda:\d/.test(name));

// The interpreter (test/ptx/) runs the kernels as compiled by nvcc. It exists if set-up found nvcc. In `npm test` it
// runs the suites of optimizers, operations and captures, which takes about a minute. In `npm run test:ptx` it runs the
// given suites instead of the other CUDA devices.
const interpreter = findAddon("cuda-ptx");
const suites =
  /\/test\/(optim\/(rules|steps|capture|captured-steps|one-arithmetic|non-finite)|tensor\/(gradients|values|golden))\.test\.ts$/;
const chosen = process.env["STEPSIZE_TEST_DEVICE"];
const isNightly = chosen === "cuda:ptx";
// The interpreter belongs to the default build of the addons only (vitest.config.ts).
const isThisBuild = process.env["STEPSIZE_ADDONS"] === undefined;
const isInterpreted = isNightly || (isThisBuild && suites.test(expect.getState().testPath ?? ""));
const interpreted = isInterpreted && interpreter.addon ? ["cuda:ptx"] : [];
if (isInterpreted && !interpreter.addon)
  console.warn(`cuda:ptx is skipped: ${interpreter.file ? interpreter.problem : "set-up found no nvcc"}`);

/** The CUDA devices under test. */
export const cudaDevices: readonly DeviceUnderTest[] = [
  ...(isNightly ? [] : [...emulated, ...gpus]),
  ...interpreted,
].map((name) => ({ label: name, name, options: {} }));

const all: readonly DeviceUnderTest[] = [...cpuDevices, ...cudaDevices];

/** Every device of this machine, or those whose labels are in `STEPSIZE_TEST_DEVICE`: "cuda:emulated,cpu avx2". */
export const devices: readonly DeviceUnderTest[] =
  chosen === undefined || isNightly ? all : all.filter(({ label }) => chosen.split(",").includes(label));
if (devices.length === 0)
  throw new Error(
    `STEPSIZE_TEST_DEVICE: expected labels among ${all.map(({ label }) => label).join(", ")}; got ${chosen}`,
  );

/** The devices that are neither emulated nor interpreted, for tests that would take minutes on those. */
export const physicalDevices = devices.filter(({ name }) => !/^cuda:(emulated|ptx)$/.test(name));

/** Opens a device under test with additional options. */
export function open({ name, options }: DeviceUnderTest, more: DeviceOptions = {}): Promise<Device> {
  return openDevice(name, { ...options, ...more });
}

/** Opens all devices until the end of the test file. */
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
