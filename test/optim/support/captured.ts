// Set-up shared by the tests of captured steps.
import type { Device } from "#lib/native/index.js";
import * as schedule from "#lib/schedule/index.js";
import type { Kind, RuleOptions } from "./reference.js";
import { bitsByName, gradientValues, make, parameterOf, setGradient } from "./runs.js";

const sizes = [0, 3, 1025];
export const budget = 1000;
export const uba = schedule.uba({ budget, maxLr: 0.02, phi: 3, warmup: 50 });
export const cycle = schedule.oneCycle({ budget, maxLr: 0.02, cycleMomentum: true });

/** Options with a number or a schedule as the learning rate. */
export type Options = { lr: number | schedule.Schedule } & Record<string, unknown>;

/** Creates parameters with a gradient, and an optimizer for them. */
export function setUp(device: Device, kind: Kind, options: Options, dtype: "float32" | "bfloat16" = "float32") {
  const parameters = sizes.map((size, i) => parameterOf(device, size, `p${i}`, i + 1, dtype));
  for (const [i, parameter] of parameters.entries()) setGradient(parameter, gradientValues(sizes[i]!, i));
  const optimizer = make(kind, parameters, options as unknown as RuleOptions);
  const named = parameters.map((parameter) => [parameter.name, parameter] as const);
  /** The bits of all tensors, the statistics and the step count. */
  const everything = async () => ({
    ...Object.fromEntries(await bitsByName([...named, ...optimizer.stateDict()])),
    stats: await optimizer.stats(),
    iteration: optimizer.iteration,
  });
  /** Writes new gradients for each step. The same gradients would give the same norm each time. */
  const rewriteGradients = (step: number) => {
    for (const [i, { grad, size }] of parameters.entries())
      grad!.write(
        grad!.dtype === "bfloat16" ? new Uint16Array(size).fill(0x3f80 + step) : gradientValues(size, step + i),
      );
  };
  const dispose = () => {
    optimizer.dispose();
    for (const parameter of parameters) {
      parameter.zeroGrad();
      parameter.dispose();
    }
  };
  return { parameters, optimizer, everything, rewriteGradients, dispose };
}
