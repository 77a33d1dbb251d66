import { StepsizeError } from "../errors.js";
import { optionNames } from "../options.js";
import type { LearningRate, ParameterGroup } from "./groups.js";
import { expectLearningRate, expectNumber, expectWeightDecay, type Hyper } from "./hyper.js";
import { Optimizer } from "./optimizer.js";
import type { ParameterLike } from "./parameters.js";
import { expectOptionNames, type StepOptions, splitStepOptions, stepNames } from "./step-options.js";

/** Options of {@link SGD} that may differ by group. */
export interface SGDGroupOptions {
  /** Learning rate: a number ≥ 0, or a schedule. Required. */
  lr: LearningRate;
  /** Momentum, a number ≥ 0. Default 0. If the schedule has a `momentum`, it replaces this value. */
  momentum?: number;
  /** Dampening d: a new gradient is multiplied by 1 − d before it is added to the momentum buffer. Default 0. */
  dampening?: number;
  /** Whether to use Nesterov momentum, which needs a momentum above 0 and no dampening. Default false. */
  nesterov?: boolean;
  /** Weight decay, a number ≥ 0: `weightDecay·parameter` is added to the gradient. Default 0. */
  weightDecay?: number;
  /** Whether to maximize instead of minimize. Default false. */
  maximize?: boolean;
}

/** Options of {@link SGD}. */
export interface SGDOptions extends SGDGroupOptions, StepOptions {
  /** Groups of parameters with options of their own. Default: none, so all parameters have the same options. */
  readonly groups?: readonly ParameterGroup<SGDGroupOptions>[];
}

const groupNames = optionNames<SGDGroupOptions>({
  lr: true,
  momentum: true,
  dampening: true,
  nesterov: true,
  weightDecay: true,
  maximize: true,
});
const names = optionNames<SGDOptions>({ ...groupNames, ...stepNames, groups: true });

/**
 * Stochastic gradient descent with momentum. It has the semantics of `torch.optim.SGD`.
 *
 * With gradient g: b ← momentum·b + (1 − dampening)·g, where the first gradient is taken whole, and
 * parameter ← parameter − lr·b. With Nesterov momentum the step is lr·(g + momentum·b).
 *
 * Source: Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013, in the form
 * that PyTorch implements.
 *
 * @example
 * ```ts
 * import { SGD } from "stepsize";
 *
 * const weights = new Float32Array([1, 2, 3]);
 * const optimizer = new SGD([weights], { lr: 0.1, momentum: 0.9 });
 * optimizer.step([new Float32Array([1, 1, 1])]);
 * console.log(weights); // about [0.9, 1.9, 2.9]
 * ```
 */
export class SGD extends Optimizer<SGDGroupOptions> {
  protected readonly momentNames: readonly string[];
  protected readonly rule: string;

  /**
   * Creates the optimizer.
   *
   * @param parameters tensors, arrays or device pointers, at least one and all of one kind
   * @throws StepsizeError `invalid-argument` if an option is unknown or out of range, if `nesterov` is set without a
   * momentum or with dampening, if `parameters` is empty, mixed or contains a tensor that cannot be trained, or if a
   * group matches no parameter
   */
  constructor(parameters: readonly ParameterLike[], options: SGDOptions) {
    expectOptionNames(new.target.name, names, groupNames, options);
    const { step, rest } = splitStepOptions(options);
    const { groups = [], ...shared } = rest;
    super(parameters, shared, groups, step);
    // Either all parameters have a buffer or none. A group without momentum gives the same bits with a buffer.
    const hasMomentum = this.groups.some(({ options }) => (options.momentum ?? 0) > 0 || cyclesMomentum(options.lr));
    this.momentNames = hasMomentum ? ["momentumBuffer"] : [];
    this.rule = hasMomentum ? "sgdMomentum" : "sgd";
  }

  protected validate({ lr, momentum = 0, dampening = 0, nesterov = false, weightDecay = 0 }: SGDGroupOptions): void {
    expectLearningRate(lr);
    expectNumber("momentum", momentum, "a number ≥ 0", (value) => value >= 0);
    expectNumber("dampening", dampening, "a finite number", () => true);
    expectWeightDecay(weightDecay);
    if (nesterov && (momentum <= 0 || dampening !== 0))
      throw new StepsizeError("invalid-argument", "nesterov: needs a momentum above 0 and no dampening");
  }

  protected hyper(options: SGDGroupOptions, learningRate: number, step: number): Hyper {
    const { lr, momentum = 0, dampening = 0, nesterov = false, weightDecay = 0, maximize = false } = options;
    const cycled = typeof lr === "number" ? undefined : lr.momentum?.(step);
    const used = cycled ?? momentum;
    // The group may have a buffer because another group has momentum. Its buffer must then hold the gradient undamped.
    return { learningRate, momentum: used, dampening: used > 0 ? dampening : 0, nesterov, weightDecay, maximize };
  }
}

function cyclesMomentum(lr: LearningRate): boolean {
  return typeof lr !== "number" && lr.momentum !== undefined;
}
