import { invalidArgument } from "../errors.js";
import type { LearningRate, ParameterGroup, Trainable } from "./groups.js";
import { expectLearningRate, expectNumber, type Hyper, Optimizer, type StepOptions } from "./optimizer.js";

/** Options of {@link Adam} and {@link AdamW} that may differ by group. */
export interface AdamGroupOptions {
  lr: LearningRate;
  /** Decay rates of the two moments; default [0.9, 0.999]. A schedule that cycles the momentum replaces the first. */
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

abstract class AdamBase extends Optimizer<AdamGroupOptions> {
  protected readonly momentNames: readonly string[];
  protected readonly update: { operation: string; attributes: Record<string, boolean> };
  protected abstract readonly decoupled: boolean;

  constructor(parameters: readonly Trainable[], options: AdamOptions) {
    const { amsgrad = false, groups = [], clipNorm, nonFinite, gradientScale, ...shared } = options;
    super(parameters, shared, groups, { clipNorm, nonFinite, gradientScale });
    this.momentNames = amsgrad ? ["expAvg", "expAvgSq", "maxExpAvgSq"] : ["expAvg", "expAvgSq"];
    this.update = { operation: "adamUpdate", attributes: { amsgrad } };
  }

  protected validate({ lr, betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0 }: AdamGroupOptions): void {
    expectLearningRate(lr);
    if (!Array.isArray(betas) || betas.length !== 2) invalidArgument("betas", "two numbers", betas);
    for (const beta of betas) expectNumber("betas", beta, "numbers from 0 to below 1", (b) => b >= 0 && b < 1);
    expectNumber("epsilon", epsilon, "a number ≥ 0", (value) => value >= 0);
    expectNumber("weightDecay", weightDecay, "a number ≥ 0", (value) => value >= 0);
  }

  protected hyper(options: AdamGroupOptions, learningRate: number, step: number): Partial<Hyper> {
    const { lr, betas = [0.9, 0.999], epsilon = 1e-8, maximize = false } = options;
    const cycled = typeof lr === "number" ? undefined : lr.momentum?.(step);
    const weightDecay = options.weightDecay ?? (this.decoupled ? 0.01 : 0);
    const [beta1, beta2] = [cycled ?? betas[0], betas[1]];
    return { learningRate, weightDecay, decoupledDecay: this.decoupled, maximize, beta1, beta2, epsilon };
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
