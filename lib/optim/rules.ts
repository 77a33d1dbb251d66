import { StepsizeError } from "../errors.js";
import { optionNames } from "../options.js";
import type { Hyper } from "./hyper-rows.js";
import { Optimizer } from "./optimizer.js";
import {
  expectBetas,
  expectLearningRate,
  expectNumber,
  expectOptionNames,
  expectWeightDecay,
  type LearningRate,
  type StepOptions,
  splitStepOptions,
  stepNames,
} from "./options.js";
import { type GivenParameters, listsOf, type ParameterGroup } from "./parameters.js";

/** Options of {@link SGD} that may differ by group. */
export interface SGDGroupOptions {
  /** Learning rate: a number ≥ 0, or a schedule. Required. */
  lr: LearningRate;
  /** Momentum, a number ≥ 0. Default 0. If the schedule has a `momentum`, it replaces this value. */
  momentum?: number | undefined;
  /** Dampening d: a new gradient is multiplied by 1 − d before it is added to the momentum buffer. Default 0. */
  dampening?: number | undefined;
  /** Whether to use Nesterov momentum, which needs a momentum above 0 and no dampening. Default false. */
  nesterov?: boolean | undefined;
  /** Weight decay, a number ≥ 0: `weightDecay·parameter` is added to the gradient. Default 0. */
  weightDecay?: number | undefined;
  /** Whether to maximize instead of minimize. Default false. */
  maximize?: boolean | undefined;
}

/** Options of {@link SGD}. */
export interface SGDOptions extends SGDGroupOptions, StepOptions {
  /** Groups of parameters with options of their own. Default: none, so all parameters have the same options. */
  readonly groups?: readonly ParameterGroup<SGDGroupOptions>[] | undefined;
}

const sgdGroupNames = optionNames<SGDGroupOptions>({
  lr: true,
  momentum: true,
  dampening: true,
  nesterov: true,
  weightDecay: true,
  maximize: true,
});
const sgdNames = optionNames<SGDOptions>({ ...sgdGroupNames, ...stepNames, groups: true });

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
   * @param parameters tensors, arrays or device pointers, at least one and all of one kind; or lists of them with options
   * of their own, `[{ params, lr }, …]`
   * @throws StepsizeError `invalid-argument` if an option is unknown or out of range, if `nesterov` is set without a
   * momentum or with dampening, if `parameters` is empty, mixed or contains a tensor that cannot be trained, or if a
   * group matches no parameter
   */
  constructor(parameters: GivenParameters<SGDGroupOptions>, options: SGDOptions) {
    expectOptionNames(new.target.name, sgdNames, sgdGroupNames, options, listsOf(parameters));
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
  betas?: readonly [number, number] | undefined;
  /** Number ≥ 0 that is added to the denominator. Default 1e-8. */
  epsilon?: number | undefined;
  /**
   * Weight decay, a number ≥ 0. Adam adds `weightDecay·parameter` to the gradient; the default is 0. AdamW multiplies
   * the parameter by 1 − lr·weightDecay; the default is 0.01.
   */
  weightDecay?: number | undefined;
  /** Whether to maximize instead of minimize. Default false. */
  maximize?: boolean | undefined;
}

/** Options of {@link Adam} and {@link AdamW}. */
export interface AdamOptions extends AdamGroupOptions, StepOptions {
  /** Whether to divide by the largest second moment so far (AMSGrad). Default false. */
  readonly amsgrad?: boolean | undefined;
  /** Groups of parameters with options of their own. Default: none, so all parameters have the same options. */
  readonly groups?: readonly ParameterGroup<AdamGroupOptions>[] | undefined;
}

const adamGroupNames = optionNames<AdamGroupOptions>({
  lr: true,
  betas: true,
  epsilon: true,
  weightDecay: true,
  maximize: true,
});
const adamNames = optionNames<AdamOptions>({ ...adamGroupNames, ...stepNames, amsgrad: true, groups: true });

abstract class AdamBase extends Optimizer<AdamGroupOptions> {
  protected readonly momentNames: readonly string[];
  protected readonly rule: string;
  protected abstract readonly decoupled: boolean;

  /**
   * Creates the optimizer.
   *
   * @param parameters tensors, arrays or device pointers, at least one and all of one kind; or lists of them with options
   * of their own, `[{ params, lr }, …]`
   * @throws StepsizeError `invalid-argument` if an option is unknown or out of range, if `parameters` is empty, mixed
   * or contains a tensor that cannot be trained, or if a group matches no parameter
   */
  constructor(parameters: GivenParameters<AdamGroupOptions>, options: AdamOptions) {
    expectOptionNames(new.target.name, adamNames, adamGroupNames, options, listsOf(parameters));
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
  betas?: readonly [number, number] | undefined;
  /** Decoupled weight decay, a number ≥ 0: the parameter is multiplied by 1 − lr·weightDecay. Default 0. */
  weightDecay?: number | undefined;
  /** Whether to maximize instead of minimize. Default false. */
  maximize?: boolean | undefined;
}

/** Options of {@link Lion}. */
export interface LionOptions extends LionGroupOptions, StepOptions {
  /** Groups of parameters with options of their own. Default: none, so all parameters have the same options. */
  readonly groups?: readonly ParameterGroup<LionGroupOptions>[] | undefined;
}

const lionGroupNames = optionNames<LionGroupOptions>({ lr: true, betas: true, weightDecay: true, maximize: true });
const lionNames = optionNames<LionOptions>({ ...lionGroupNames, ...stepNames, groups: true });

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
   * @param parameters tensors, arrays or device pointers, at least one and all of one kind; or lists of them with options
   * of their own, `[{ params, lr }, …]`
   * @throws StepsizeError `invalid-argument` if an option is unknown or out of range, if `parameters` is empty, mixed
   * or contains a tensor that cannot be trained, or if a group matches no parameter
   */
  constructor(parameters: GivenParameters<LionGroupOptions>, options: LionOptions) {
    expectOptionNames(new.target.name, lionNames, lionGroupNames, options, listsOf(parameters));
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
