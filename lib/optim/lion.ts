import { optionNames } from "../options.js";
import type { LearningRate, ParameterGroup } from "./groups.js";
import { expectBetas, expectLearningRate, expectWeightDecay, type Hyper } from "./hyper.js";
import { Optimizer } from "./optimizer.js";
import type { ParameterLike } from "./parameters.js";
import { expectOptionNames, type StepOptions, splitStepOptions, stepNames } from "./step-options.js";

/** Options of {@link Lion} that may differ by group. */
export interface LionGroupOptions {
  /**
   * Learning rate: a number ≥ 0, or a schedule. Required. Every element moves by about this much at each step. The
   * paper suggests a third to a tenth of AdamW's rate.
   */
  lr: LearningRate;
  /**
   * Weight β₁ of the momentum in the direction of the step, and decay rate β₂ of the momentum, each from 0 to below 1.
   * Default [0.9, 0.99]. If the schedule has a `momentum`, it replaces β₁.
   */
  betas?: readonly [number, number];
  /** Decoupled weight decay, a number ≥ 0: the parameter is multiplied by 1 − lr·weightDecay. Default 0. */
  weightDecay?: number;
  /** Whether to maximize instead of minimize. Default false. */
  maximize?: boolean;
}

/** Options of {@link Lion}. */
export interface LionOptions extends LionGroupOptions, StepOptions {
  /** Groups of parameters with options of their own. Default: none, so all parameters have the same options. */
  readonly groups?: readonly ParameterGroup<LionGroupOptions>[];
}

const groupNames = optionNames<LionGroupOptions>({ lr: true, betas: true, weightDecay: true, maximize: true });
const names = optionNames<LionOptions>({ ...groupNames, ...stepNames, groups: true });

/**
 * The Lion optimizer, which moves each element along the sign of an interpolated momentum.
 *
 * With gradient g: parameter ← parameter·(1 − lr·weightDecay) − lr·sign(β₁m + (1 − β₁)g), then m ← β₂m + (1 − β₂)g.
 *
 * Source: Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023.
 *
 * @example
 * ```ts
 * import { Lion } from "stepsize";
 *
 * const weights = new Float32Array([1, 2, 3]);
 * const optimizer = new Lion([weights], { lr: 0.01 });
 * optimizer.step([new Float32Array([1, -1, 1])]);
 * console.log(weights); // about [0.99, 2.01, 2.99]
 * ```
 */
export class Lion extends Optimizer<LionGroupOptions> {
  protected readonly momentNames = ["expAvg"];
  protected readonly rule = "lion";

  /**
   * Creates the optimizer.
   *
   * @param parameters tensors, arrays or device pointers, at least one and all of one kind
   * @throws StepsizeError `invalid-argument` if an option is unknown or out of range, if `parameters` is empty, mixed
   * or contains a tensor that cannot be trained, or if a group matches no parameter
   */
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
