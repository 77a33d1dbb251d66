// SGD, Adam and AdamW in float64 as PyTorch writes them (torch/optim/sgd.py, adam.py, adamw.py), and Lion as its paper
// writes it (Chen et al., NeurIPS 2023, algorithm 2). They share neither code nor the arrangement of the arithmetic
// with the library. rules.test.ts checks them against PyTorch, and Lion against test/golden/optimizers.py.

export type Kind = "SGD" | "Adam" | "AdamW" | "Lion";

/** Options under the library's names. Options that a rule does not have are ignored. */
export interface RuleOptions {
  readonly lr: number;
  readonly momentum?: number;
  readonly dampening?: number;
  readonly nesterov?: boolean;
  readonly weightDecay?: number;
  readonly maximize?: boolean;
  readonly betas?: readonly [number, number];
  readonly epsilon?: number;
  readonly amsgrad?: boolean;
}

/** A parameter and its optimizer state. */
export class Reference {
  readonly parameter: Float64Array;
  readonly #kind: Kind;
  readonly #options: RuleOptions;
  readonly #first: Float64Array;
  readonly #second: Float64Array;
  readonly #largest: Float64Array;
  #steps = 0;

  constructor(kind: Kind, options: RuleOptions, parameter: ArrayLike<number>) {
    this.#kind = kind;
    this.#options = options;
    this.parameter = Float64Array.from(parameter);
    this.#first = new Float64Array(parameter.length);
    this.#second = new Float64Array(parameter.length);
    this.#largest = new Float64Array(parameter.length);
  }

  /** Does one update. `changes` are the options that a schedule sets for this step. */
  step(gradient: ArrayLike<number>, changes: Partial<RuleOptions> = {}): void {
    const options = { ...this.#options, ...changes };
    this.#steps++;
    if (this.#kind === "SGD") this.#sgd(gradient, options);
    else if (this.#kind === "Lion") this.#lion(gradient, options);
    else this.#adam(gradient, options);
  }

  #sgd(gradient: ArrayLike<number>, options: RuleOptions): void {
    const { lr, momentum = 0, dampening = 0, nesterov = false, weightDecay = 0, maximize = false } = options;
    const p = this.parameter;
    const buffer = this.#first;
    for (let i = 0; i < p.length; i++) {
      let d = maximize ? -gradient[i]! : gradient[i]!;
      if (weightDecay !== 0) d += weightDecay * p[i]!;
      if (momentum !== 0) {
        buffer[i] = this.#steps === 1 ? d : momentum * buffer[i]! + (1 - dampening) * d;
        d = nesterov ? d + momentum * buffer[i]! : buffer[i]!;
      }
      p[i]! -= lr * d;
    }
  }

  #adam(gradient: ArrayLike<number>, options: RuleOptions): void {
    const { lr, betas = [0.9, 0.999], epsilon = 1e-8, amsgrad = false, maximize = false } = options;
    const decoupled = this.#kind === "AdamW";
    const { weightDecay = decoupled ? 0.01 : 0 } = options;
    const [beta1, beta2] = betas;
    // The betas of this step, even if a schedule changes them.
    const correction1 = 1 - beta1 ** this.#steps;
    const correction2 = 1 - beta2 ** this.#steps;
    const p = this.parameter;
    for (let i = 0; i < p.length; i++) {
      let g = maximize ? -gradient[i]! : gradient[i]!;
      if (decoupled) p[i]! *= 1 - lr * weightDecay;
      else g += weightDecay * p[i]!;
      this.#first[i] = beta1 * this.#first[i]! + (1 - beta1) * g;
      this.#second[i] = beta2 * this.#second[i]! + (1 - beta2) * g * g;
      this.#largest[i] = Math.max(this.#largest[i]!, this.#second[i]!);
      const second = amsgrad ? this.#largest[i]! : this.#second[i]!;
      p[i]! -= ((lr / correction1) * this.#first[i]!) / (Math.sqrt(second) / Math.sqrt(correction2) + epsilon);
    }
  }

  #lion(gradient: ArrayLike<number>, options: RuleOptions): void {
    const { lr, betas = [0.9, 0.99], weightDecay = 0, maximize = false } = options;
    const [beta1, beta2] = betas;
    const p = this.parameter;
    const momentum = this.#first;
    for (let i = 0; i < p.length; i++) {
      const g = maximize ? -gradient[i]! : gradient[i]!;
      const c = beta1 * momentum[i]! + (1 - beta1) * g;
      p[i]! -= lr * (Math.sign(c) + weightDecay * p[i]!);
      momentum[i] = beta2 * momentum[i]! + (1 - beta2) * g;
    }
  }
}
