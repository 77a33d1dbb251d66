import { optionNames } from "../options.js";
import type { LearningRate, ParameterGroup } from "./groups.js";
import { expectBetas, expectLearningRate, expectNumber, expectWeightDecay, type Hyper } from "./hyper.js";
import { Optimizer } from "./optimizer.js";
import type { ParameterLike } from "./parameters.js";
import { expectOptionNames, type StepOptions, splitStepOptions, stepNames } from "./step-options.js";

/** Options of {@link Adam} and {@link AdamW} that may differ by group. */
export interface AdamGroupOptions {
  /** Learning rate: a number ≥ 0, or a schedule. Required. */
  lr: LearningRate;
  /**
   * Decay rates β₁ and β₂ of the first and second moment, each from 0 to below 1. Default [0.9, 0.999].
   *
   * If the schedule has a `momentum`, it replaces β₁. The bias correction is then 1 − βᵗ with the β₁ of the current
   * step, as in PyTorch.
   */
  betas?: readonly [number, number];
  /** Number ≥ 0 that is added to the denominator. Default 1e-8. */
  epsilon?: number;
  /**
   * Weight decay, a number ≥ 0. Adam adds `weightDecay·parameter` to the gradient; the default is 0. AdamW multiplies
   * the parameter by 1 − lr·weightDecay; the default is 0.01.
   */
  weightDecay?: number;
  /** Whether to maximize instead of minimize. Default false. */
  maximize?: boolean;
}

/** Options of {@link Adam} and {@link AdamW}. */
export interface AdamOptions extends AdamGroupOptions, StepOptions {
  /** Whether to divide by the largest second moment so far (AMSGrad). Default false. */
  readonly amsgrad?: boolean;
  /** Groups of parameters with options of their own. Default: none, so all parameters have the same options. */
  readonly groups?: readonly ParameterGroup<AdamGroupOptions>[];
}

const groupNames = optionNames<AdamGroupOptions>({
  lr: true,
  betas: true,
  epsilon: true,
  weightDecay: true,
  maximize: true,
});
const names = optionNames<AdamOptions>({ ...groupNames, ...stepNames, amsgrad: true, groups: true });

abstract class AdamBase extends Optimizer<AdamGroupOptions> {
  protected readonly momentNames: readonly string[];
  protected readonly rule: string;
  protected abstract readonly decoupled: boolean;

  /**
   * Creates the optimizer.
   *
   * @param parameters tensors, arrays or device pointers, at least one and all of one kind
   * @throws StepsizeError `invalid-argument` if an option is unknown or out of range, if `parameters` is empty, mixed
   * or contains a tensor that cannot be trained, or if a group matches no parameter
   */
  constructor(parameters: readonly ParameterLike[], options: AdamOptions) {
    expectOptionNames(new.target.name, names, groupNames, options);
    const { step, rest } = splitStepOptions(options);
    const { amsgrad = false, groups = [], ...shared } = rest;
    super(parameters, shared, groups, step);
    this.momentNames = amsgrad ? ["expAvg", "expAvgSq", "maxExpAvgSq"] : ["expAvg", "expAvgSq"];
    this.rule = amsgrad ? "adamAmsgrad" : "adam";
  }

  protected validate({ lr, betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0 }: AdamGroupOptions): void {
    expectLearningRate(lr);
    expectBetas(betas);
    expectNumber("epsilon", epsilon, "a number ≥ 0", (value) => value >= 0);
    expectWeightDecay(weightDecay);
  }

  protected hyper(options: AdamGroupOptions, learningRate: number, step: number): Hyper {
    const { lr, betas = [0.9, 0.999], epsilon = 1e-8, maximize = false } = options;
    const cycled = typeof lr === "number" ? undefined : lr.momentum?.(step);
    const weightDecay = options.weightDecay ?? (this.decoupled ? 0.01 : 0);
    const [beta1, beta2] = [cycled ?? betas[0], betas[1]];
    const decoupledDecay = this.decoupled;
    return { learningRate, weightDecay, decoupledDecay, maximize, beta1, beta2, epsilon, biasCorrection: true };
  }
}

/**
 * The Adam optimizer, with weight decay added to the gradient. It has the semantics of `torch.optim.Adam`.
 *
 * With gradient g and step t: m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², and
 * parameter ← parameter − lr·(m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + epsilon).
 *
 * Source: Kingma & Ba, "Adam: A method for stochastic optimization", ICLR 2015. AMSGrad: Reddi, Kale & Kumar, "On the
 * convergence of Adam and beyond", ICLR 2018.
 *

 * @example
 * ```ts
 * import { Adam } from "stepsize";
 *
 * const weights = new Float32Array([1, 2, 3]);
 * const optimizer = new Adam([weights], { lr: 0.1 });
 * optimizer.step([new Float32Array([1, 1, 1])]);
 * console.log(weights); // each element is about 0.1 smaller
 * ```
 */
export class Adam extends AdamBase {
  protected readonly decoupled = false;
}

/**
 * The AdamW optimizer: Adam with decoupled weight decay. It has the semantics of `torch.optim.AdamW`.
 *
 * The update is that of {@link Adam}, after parameter ← parameter·(1 − lr·weightDecay).
 *
 * Source: Loshchilov & Hutter, "Decoupled weight decay regularization", ICLR 2019.
 *
 * @example
 * ```ts
 * import { AdamW, models, nn, openDevice, schedule, tensor } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const model = models.mlp({ inputs: 2, hidden: [8], classes: 2, device, seed: 0 });
 * const lr = schedule.uba({ budget: 100, maxLr: 1e-2 });
 * const optimizer = new AdamW(model.parameters(), { lr, weightDecay: 0.1, clipNorm: 1 });
 * const x = tensor(device, new Float32Array([0, 0, 1, 1]), [2, 2]);
 * const labels = tensor(device, new Int32Array([0, 1]), [2]);
 * for (let step = 0; step < 100; step++) {
 *   nn.crossEntropy(model.forward(x), labels).backward();
 *   optimizer.step();
 *   optimizer.zeroGrad();
 * }
 * ```
 */
export class AdamW extends AdamBase {
  protected readonly decoupled = true;
}
