import { optionNames } from "../options.js";
import type { LearningRate, ParameterGroup } from "./groups.js";
import { expectBetas, expectLearningRate, expectNumber, expectWeightDecay, type Hyper } from "./hyper.js";
import { Optimizer } from "./optimizer.js";
import type { ParameterLike } from "./parameters.js";
import { expectOptionNames, type StepOptions, splitStepOptions, stepNames } from "./step-options.js";

/** Options of {@link Adam} and {@link AdamW} that may differ by group. */
export interface AdamGroupOptions {
  lr: LearningRate;
  /**
   * Decay rates of the two moments; default [0.9, 0.999]. A schedule that cycles the momentum replaces the first. The
   * bias is then corrected as PyTorch does it, by 1 − βᵗ with the beta of this step.
   */
  betas?: readonly [number, number];
  /** Added to the denominator; default 1e-8. */
  epsilon?: number;
  /** Default 0 for Adam (added to the gradient), 0.01 for AdamW (shrinks the parameter by lr·weightDecay). */
  weightDecay?: number;
  /** Ascend instead of descend; default false. */
  maximize?: boolean;
}

/** Options of {@link Adam} and {@link AdamW}. */
export interface AdamOptions extends AdamGroupOptions, StepOptions {
  /** Divide by the largest second moment so far; default false. */
  readonly amsgrad?: boolean;
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
 * Adam with weight decay added to the gradient; the semantics of `torch.optim.Adam`. Source: Kingma & Ba, ICLR 2015;
 * AMSGrad: Reddi, Kale & Kumar, ICLR 2018.
 */
export class Adam extends AdamBase {
  protected readonly decoupled = false;
}

/**
 * Adam with decoupled weight decay; the semantics of `torch.optim.AdamW`. Source: Loshchilov & Hutter, ICLR 2019.
 */
export class AdamW extends AdamBase {
  protected readonly decoupled = true;
}
