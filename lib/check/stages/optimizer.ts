// Stage 3: optimizer steps give the same bits as on the CPU: every update rule with every storage of its tensors.
import type { Device, DevicePointer } from "../../native/index.js";
import {
  Adam,
  AdamW,
  type Foreign,
  type LearningRate,
  Lion,
  type ParameterGroup,
  type ParameterLike,
  SGD,
  type StepOptions,
} from "../../optim/index.js";
import { uba } from "../../schedule/index.js";
import { bfloat16Bits } from "../../tensor/bfloat16.js";
import { type Tensor, tensor } from "../../tensor/index.js";
import { compareNamed, type NamedResults, readNamed } from "../compare.js";
import { numbers } from "../hashed.js";
import { hasFusedMultiplyAdd } from "../reference.js";
import type { Finding } from "../report.js";
import type { CaseContext, CaseGroup, CheckCase, Scale, Stage } from "../stage.js";

/** Steps of a run, and the sizes of its tensors: none; less than a vector; several rows and chunks, and a rest. */
const runs = {
  full: { steps: 50, sizes: [0, 1, 3, 1025, 20_000] },
  reduced: { steps: 5, sizes: [0, 1, 3, 1025] },
} as const;

interface Stepper {
  step(gradients?: readonly Foreign[]): void;
  stateDict(): Map<string, Tensor>;
  dispose(): void;
}

/** Options that all rules take. */
interface CommonOptions extends StepOptions {
  readonly lr: LearningRate;
  readonly groups?: readonly ParameterGroup<{ lr: LearningRate }>[];
  readonly device?: Device;
}

type Make = (parameters: readonly ParameterLike[], options: CommonOptions) => Stepper;

/** Every update rule, with options that use all its parts. */
const rules: Readonly<Record<string, Make>> = {
  sgd: (parameters, options) => new SGD(parameters, { ...options, weightDecay: 0.1 }),
  "sgd-momentum": (parameters, options) =>
    new SGD(parameters, { ...options, momentum: 0.9, dampening: 0.3, maximize: true }),
  "sgd-nesterov": (parameters, options) =>
    new SGD(parameters, { ...options, momentum: 0.9, nesterov: true, weightDecay: 0.1 }),
  adam: (parameters, options) => new Adam(parameters, { ...options, weightDecay: 0.1 }),
  adamw: (parameters, options) => new AdamW(parameters, { ...options, betas: [0.8, 0.95], weightDecay: 0.3 }),
  // The second moment falls often, so that its maximum is not always the newest value.
  amsgrad: (parameters, options) => new AdamW(parameters, { ...options, amsgrad: true, betas: [0.9, 0.8] }),
  lion: (parameters, options) => new Lion(parameters, { ...options, weightDecay: 0.1 }),
};

type Storage = Pick<StepOptions, "masterWeights" | "momentType" | "seed"> & { readonly dtype: "float32" | "bfloat16" };

/** Every combination of types that an optimizer offers. */
const storages: Readonly<Record<string, Storage>> = {
  float32: { dtype: "float32" },
  "float32, bfloat16 moments": { dtype: "float32", momentType: "bfloat16", seed: 7 },
  "bfloat16 with masters": { dtype: "bfloat16" },
  "bfloat16 with masters, bfloat16 moments": { dtype: "bfloat16", momentType: "bfloat16", seed: 7 },
  "bfloat16 without masters": { dtype: "bfloat16", masterWeights: false, seed: 7 },
  "bfloat16 without masters, bfloat16 moments": {
    dtype: "bfloat16",
    masterWeights: false,
    momentType: "bfloat16",
    seed: 7,
  },
};

const options: Readonly<Record<string, Partial<CommonOptions>>> = {
  plain: {},
  // The norms of the gradients are above and below the limit.
  clipped: { clipNorm: 3, nonFinite: "skip", gradientScale: 0.5 },
  groups: { clipNorm: 3, groups: [{ where: (_, { shape }) => (shape[0] ?? 0) < 100, lr: 1e-3 }] },
};

/** Hashed numbers in [0.5, 2.5). */
function initialValues(count: number, salt: number): Float32Array {
  return numbers(count, salt, 1.5);
}

const known = new Map<string, Float32Array>();

/** Returns the gradient of a step. Its magnitudes span seven powers of two. */
function gradientOf(count: number, step: number, salt: number): Float32Array {
  const key = `${count} ${step} ${salt}`;
  let values = known.get(key);
  values ??= numbers(count, salt + step).map((value, i) => value * 2 ** ((i % 7) - 4));
  known.set(key, values);
  return values;
}

interface Run {
  readonly make: Make;
  readonly storage: Storage;
  readonly options: Partial<CommonOptions>;
  readonly scale: Scale;
}

function optionsOf({ storage: { dtype: _, ...types }, options, scale }: Run): CommonOptions {
  return { lr: uba({ budget: runs[scale].steps, maxLr: 0.05, phi: 3, warmup: 2 }), ...types, ...options };
}

/** Trains tensors of a device. Returns the bits of parameters and state after the first steps and the last. */
async function trainTensors(device: Device, run: Run): Promise<NamedResults> {
  const { steps, sizes } = runs[run.scale];
  const { dtype } = run.storage;
  const parameters = sizes.map((size, i) =>
    tensor(device, initialValues(size, i + 1), [size], { dtype, requiresGrad: true }),
  );
  const optimizer = run.make(parameters, optionsOf(run));
  const results: NamedResults = new Map();
  for (let step = 0; step < steps; step++) {
    for (const [i, parameter] of parameters.entries()) {
      parameter.grad?.dispose();
      const values = gradientOf(parameter.size, step, 100 * (i + 1)).slice();
      // One step is skipped if the check is on.
      if (run.options.nonFinite && step === 3 && i === 3) values[1024] = Number.NaN;
      parameter.grad = tensor(device, values, parameter.shape, { dtype });
    }
    optimizer.step();
    if (step < 2 || step === steps - 1)
      await readNamed(results, parameters.map((one, i) => [`parameter ${i} after step ${step}`, one])); // biome-ignore format: one line
  }
  await readNamed(results, [...optimizer.stateDict()]);
  optimizer.dispose();
  for (const parameter of parameters) {
    parameter.grad?.dispose();
    parameter.dispose();
  }
  return results;
}

/**
 * Trains caller-owned memory that begins `offset` elements after an aligned address. On a GPU it is a part of a tensor,
 * on a CPU a part of an array.
 */
async function trainPointers(device: Device, run: Run, offset: number): Promise<NamedResults> {
  const { steps, sizes } = runs[run.scale];
  const bytes = run.storage.dtype === "bfloat16" ? 2 : 4;
  const { dtype } = run.storage;
  const shifted = (values: Float32Array) => {
    const whole = new Float32Array(values.length + offset);
    whole.set(values, offset);
    return tensor(device, whole, [whole.length], { dtype });
  };
  const pointerTo = (whole: Tensor): DevicePointer => ({
    devicePointer: whole.devicePointer + BigInt(offset * bytes),
    length: whole.size - offset,
    dtype,
  });
  const parameters = sizes.map((size, i) => shifted(initialValues(size, i + 1)));
  const optimizer = run.make(parameters.map(pointerTo), { ...optionsOf(run), device });
  for (let step = 0; step < steps; step++) {
    const gradients = sizes.map((size, i) => shifted(gradientOf(size, step, 100 * (i + 1))));
    optimizer.step(gradients.map(pointerTo));
    // The memory is released in the order of the device's work.
    for (const gradient of gradients) gradient.dispose();
  }
  const results: NamedResults = new Map();
  await readNamed(results, parameters.map((one, i) => [`parameter ${i}`, one])); // biome-ignore format: one line
  await readNamed(results, [...optimizer.stateDict()]);
  optimizer.dispose();
  for (const parameter of parameters) parameter.dispose();
  return results;
}

async function compare(
  { device, reference }: CaseContext,
  train: (device: Device) => Promise<NamedResults>,
  expect: (cpu: Device) => Promise<NamedResults> = train,
): Promise<Finding> {
  const cpu = await reference();
  if (!hasFusedMultiplyAdd(cpu)) return { notRun: "this CPU has no fused multiply-add, so its bits differ" };
  return compareNamed(await train(device), await expect(cpu));
}

function misaligned(make: Make, dtype: "float32" | "bfloat16", offset: number): CheckCase {
  return {
    name: `${dtype}, pointers ${offset} elements off alignment`,
    run: (context) => {
      const storage: Storage = { dtype, ...(dtype === "bfloat16" && { masterWeights: false, seed: 7 }) };
      const run = { make, storage, options: { clipNorm: 3 }, scale: context.scale };
      const expected = (cpu: Device) => trainArrays(cpu, run, offset);
      if (context.device.name === "cpu") return compare(context, expected);
      return compare(context, (device) => trainPointers(device, run, offset), expected);
    },
  };
}

/** Trains arrays with the same content as {@link trainPointers}. */
async function trainArrays(device: Device, run: Run, offset: number): Promise<NamedResults> {
  const { steps, sizes } = runs[run.scale];
  const { dtype } = run.storage;
  const shifted = (values: Float32Array) => {
    const whole = new Float32Array(values.length + offset);
    whole.set(values, offset);
    return dtype === "bfloat16" ? Uint16Array.from(whole, bfloat16Bits) : whole;
  };
  const wholes = sizes.map((size, i) => shifted(initialValues(size, i + 1)));
  const optimizer = run.make(wholes.map((whole) => whole.subarray(offset)), { ...optionsOf(run), device }); // biome-ignore format: one line
  for (let step = 0; step < steps; step++) {
    const gradients = sizes.map((size, i) => shifted(gradientOf(size, step, 100 * (i + 1))));
    optimizer.step(gradients.map((gradient) => gradient.subarray(offset)));
  }
  const results: NamedResults = new Map();
  for (const [i, values] of wholes.entries()) results.set(`parameter ${i}`, { dtype, shape: [values.length], values });
  await readNamed(results, [...optimizer.stateDict()]);
  optimizer.dispose();
  return results;
}

function groupOf(name: string, make: Make): CaseGroup {
  const cases: CheckCase[] = Object.entries(storages).flatMap(([stored, storage]) =>
    Object.entries(options).map(([called, options]) => ({
      name: `${stored}, ${called}`,
      run: (context) =>
        compare(context, (device) => trainTensors(device, { make, storage, options, scale: context.scale })),
    })),
  );
  for (const offset of [1, 3]) cases.push(misaligned(make, "float32", offset), misaligned(make, "bfloat16", offset));
  return { name, cases, limit: 240 };
}

/** The bits of optimizer steps. */
export const optimizerStage: Stage = {
  name: "optimizer",
  title: "optimizer steps of every rule and storage, to the bits of the CPU",
  groups: () => Object.entries(rules).map(([name, make]) => groupOf(name, make)),
  parallel: true,
};
