import { optionNames } from "../options.js";
import type { LearningRate, ParameterGroup } from "./groups.js";
import { expectBetas, expectLearningRate, expectWeightDecay, type Hyper } from "./hyper.js";
import { Optimizer } from "./optimizer.js";
import type { ParameterLike } from "./parameters.js";
import { expectOptionNames, type StepOptions, splitStepOptions, stepNames } from "./step-options.js";

/** Options of {@link Lion} that may differ by group. */
export interface LionGroupOptions {
  /** Every element moves by this much, so it is a third to a tenth of AdamW's. */
  lr: LearningRate;
  /** Weights of the momentum in the direction and in its own average; default [0.9, 0.99]. */
  betas?: readonly [number, number];
  /** Shrinks the parameter by lr·weightDecay; default 0. */
  weightDecay?: number;
  /** Ascend instead of descend; default false. */
  maximize?: boolean;
}

/** Options of {@link Lion}. */
export interface LionOptions extends LionGroupOptions, StepOptions {
  readonly groups?: readonly ParameterGroup<LionGroupOptions>[];
}

const groupNames = optionNames<LionGroupOptions>({ lr: true, betas: true, weightDecay: true, maximize: true });
const names = optionNames<LionOptions>({ ...groupNames, ...stepNames, groups: true });

/**
 * Lion: steps along the sign of an interpolated momentum. Source: Chen et al., "Symbolic discovery of optimization
 * algorithms", NeurIPS 2023.
 */
export class Lion extends Optimizer<LionGroupOptions> {
  protected readonly momentNames = ["expAvg"];
  protected readonly rule = "lion";

  constructor(parameters: readonly ParameterLike[], options: LionOptions) {
    expectOptionNames(new.target.name, names, groupNames, options);
    const { step, rest } = splitStepOptions(options);
    const { groups = [], ...shared } = rest;
    super(parameters, shared, groups, step);
  }

  protected validate({ lr, betas = [0.9, 0.99], weightDecay = 0 }: LionGroupOptions): void {
    expectLearningRate(lr);
    expectBetas(betas);
    expectWeightDecay(weightDecay);
  }

  protected hyper(options: LionGroupOptions, learningRate: number, step: number): Hyper {
    const { lr, betas = [0.9, 0.99], weightDecay = 0, maximize = false } = options;
    const cycled = typeof lr === "number" ? undefined : lr.momentum?.(step);
    const [beta1, beta2] = [cycled ?? betas[0], betas[1]];
    return { learningRate, weightDecay, decoupledDecay: true, maximize, beta1, beta2 };
  }
}
