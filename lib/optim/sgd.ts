import { StepsizeError } from "../errors.js";
import { optionNames } from "../options.js";
import type { LearningRate, ParameterGroup } from "./groups.js";
import { expectLearningRate, expectNumber, expectWeightDecay, type Hyper } from "./hyper.js";
import { Optimizer } from "./optimizer.js";
import type { ParameterLike } from "./parameters.js";
import { expectOptionNames, type StepOptions, splitStepOptions, stepNames } from "./step-options.js";

/** Options of {@link SGD} that may differ by group. */
export interface SGDGroupOptions {
  lr: LearningRate;
  /** Default 0. A schedule that cycles the momentum (one-cycle) takes precedence. */
  momentum?: number;
  /** How much less a new gradient counts in the momentum buffer; default 0. */
  dampening?: number;
  /** Whether to look ahead along the buffer; needs a momentum and no dampening. Default false. */
  nesterov?: boolean;
  /** Added to the gradient as weightDecay·parameter; default 0. */
  weightDecay?: number;
  /** Ascend instead of descend; default false. */
  maximize?: boolean;
}

/** Options of {@link SGD}. */
export interface SGDOptions extends SGDGroupOptions, StepOptions {
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

/** Stochastic gradient descent with momentum; the semantics of `torch.optim.SGD`. */
export class SGD extends Optimizer<SGDGroupOptions> {
  protected readonly momentNames: readonly string[];
  protected readonly rule: string;

  /**
   * @throws StepsizeError `invalid-argument` for a negative or non-finite rate, momentum or decay, and for Nesterov
   * without momentum or with dampening.
   */
  constructor(parameters: readonly ParameterLike[], options: SGDOptions) {
    expectOptionNames(new.target.name, names, groupNames, options);
    const { step, rest } = splitStepOptions(options);
    const { groups = [], ...shared } = rest;
    super(parameters, shared, groups, step);
    // One buffer for all or for none: a group without momentum gives the same bits with a buffer.
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
    // Another group may have given this one a buffer: without momentum it must hold the gradient, undamped.
    return { learningRate, momentum: used, dampening: used > 0 ? dampening : 0, nesterov, weightDecay, maximize };
  }
}

function cyclesMomentum(lr: LearningRate): boolean {
  return typeof lr !== "number" && lr.momentum !== undefined;
}
