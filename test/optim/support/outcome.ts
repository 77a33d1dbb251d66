// Optimizer runs whose results have the same bits on every device with fma.
import type { Device } from "#lib/native/index.js";
import * as schedule from "#lib/schedule/index.js";
import type { Kind, RuleOptions } from "./reference.js";
import { bitsByName, gradientValues, initialValues, make, parameterOf, setGradient } from "./runs.js";
import type { Storage } from "./storages.js";

/** Steps of a run. */
export const steps = 20;
// Zero, one, less than a vector, one more than a chunk's row of 1024, and more than one chunk of 16384.
const sizes = [0, 1, 3, 1025, 20_000];

const lr = schedule.uba({ budget: steps, maxLr: 0.05, phi: 3, warmup: 2 }) as unknown as number;
/** Every rule with hyper-parameters that use all parts of it. */
export const rules: { kind: Kind; options: RuleOptions }[] = [
  { kind: "SGD", options: { lr, weightDecay: 0.1 } },
  { kind: "SGD", options: { lr, momentum: 0.9, dampening: 0.3, maximize: true } },
  { kind: "SGD", options: { lr, momentum: 0.9, nesterov: true, weightDecay: 0.1 } },
  { kind: "Adam", options: { lr, weightDecay: 0.1 } },
  { kind: "AdamW", options: { lr, betas: [0.8, 0.95], weightDecay: 0.3 } },
  // The second moment falls often here, so that the maximum is not always the newest value.
  { kind: "Adam", options: { lr, amsgrad: true, betas: [0.9, 0.8] } },
  { kind: "AdamW", options: { lr, amsgrad: true, betas: [0.9, 0.8], maximize: true } },
  { kind: "Lion", options: { lr, weightDecay: 0.1 } },
];
/** Options of an optimizer without and with a norm. */
export const checks = [{}, { clipNorm: 3, nonFinite: "skip", gradientScale: 0.5 }] as const;

/** All results of a run by name: the parameters after some steps, the optimizer state, and the statistics. */
export async function outcome(device: Device, kind: Kind, options: object, { dtype, options: types }: Storage) {
  const parameters = sizes.map((size, i) => parameterOf(device, initialValues(size, i + 1), `p${i}`, 1, dtype));
  const optimizer = make(kind, parameters, { ...options, ...types } as RuleOptions);
  const named = parameters.map((parameter) => [parameter.name, parameter] as const);
  const result: Record<string, unknown> = {};
  for (let step = 0; step < steps; step++) {
    for (const [i, parameter] of parameters.entries()) {
      const gradient = gradientValues(sizes[i]!, step, 100 * (i + 1));
      // One step is skipped if the check is on.
      const spoiled = step === 6 && i === 4 && "nonFinite" in options;
      setGradient(parameter, spoiled ? gradient.with(19_999, Number.NaN) : gradient);
    }
    optimizer.step();
    result[`statistics after step ${step}`] = optimizer.stats();
    if (step === 0 || step === 1 || step === steps - 1)
      for (const [name, text] of await bitsByName(named)) result[`${name} after step ${step}`] = text;
  }
  for (const [name, text] of await bitsByName(optimizer.stateDict())) result[name] = text;
  for (const [name, value] of Object.entries(result)) result[name] = await value;
  optimizer.dispose();
  for (const parameter of parameters) {
    parameter.zeroGrad();
    parameter.dispose();
  }
  return result;
}

// The values of outcome() are near 1. Arithmetic differs first at extreme values: subnormal numbers, which a device might
// flush to zero, the largest numbers, and unchecked infinities and NaNs.
const extremes = Float32Array.from(
  [0, 1e-45, 1e-40, 1.2e-38, 1e-30, 1e-20, 1e-4, 1, 3e4, 1e18, 1e19, 3.4e38, Infinity, Number.NaN].flatMap((value) => [
    value,
    -value,
  ]),
);

/** All results of a few steps of every extreme value with every extreme value as its gradient, as text. */
export async function extremeOutcome(device: Device, kind: Kind, options: object, storage: Storage) {
  const { length } = extremes;
  // Every value is used as a parameter with every value as its gradient.
  const values = Float32Array.from({ length: length ** 2 }, (_, i) => extremes[Math.floor(i / length)]!);
  const gradient = Float32Array.from({ length: length ** 2 }, (_, i) => extremes[i % length]!);
  const parameter = parameterOf(device, values, "p", 1, storage.dtype);
  const optimizer = make(kind, [parameter], { ...options, ...storage.options, lr: 1e-3 } as RuleOptions);
  for (let step = 0; step < 3; step++) {
    setGradient(parameter, gradient);
    optimizer.step();
  }
  const tensors = [parameter, ...optimizer.stateDict().values()];
  const read = await Promise.all(tensors.map((one) => one.read()));
  // The bits of a NaN depend on the processor, so all NaNs are treated as equal.
  const text = read.map((array) =>
    array instanceof Uint16Array
      ? Array.from(array, (bits) => ((bits & 0x7fff) > 0x7f80 ? "NaN" : bits))
      : Array.from(array, (value) => (Object.is(value, -0) ? "-0" : `${value}`)),
  );
  optimizer.dispose();
  return text;
}
