import { expectFinite } from "../arguments.js";
import type { Device } from "../native/index.js";
import { checkedOptions, optionNames } from "../options.js";
import { embedding, layerNorm, normal, ones, rmsNorm, type Tensor, zeros } from "../tensor/index.js";
import { seedsOf } from "./initialize.js";
import { type LayerOptions, torchNamesOfNorms } from "./layers.js";
import { Module } from "./module.js";
import { Parameter } from "./parameter.js";

/** Options of {@link Embedding}. */
export interface EmbeddingOptions extends Pick<LayerOptions, "device" | "seeds"> {
  /** Standard deviation of the normally distributed initial rows. Default 1/√width. */
  readonly deviation?: number | undefined;
}

const embeddingNames = optionNames<EmbeddingOptions>({ device: true, seeds: true, deviation: true });

/**
 * An embedding layer: a trained row for each id, from int32 [...] to [..., width].
 *
 * @example
 * ```ts
 * import { nn, openDevice, tensor } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const layer = new nn.Embedding(100, 16, { device });
 * const vectors = layer.forward(tensor(device, new Int32Array([3, 7]))); // [2, 16]
 * ```
 */
export class Embedding extends Module {
  /** Table of the rows, [rows, width]. */
  readonly weight: Parameter;

  /**
   * Creates the layer.
   *
   * @param rows number of ids
   * @param width size of each row
   * @throws StepsizeError `invalid-argument` if a size or an option is invalid; `out-of-memory`
   */

  constructor(rows: number, width: number, options: EmbeddingOptions) {
    super();
    expectFinite("width", width);
    const { device, seeds, deviation = width ** -0.5 } = checkedOptions("Embedding", embeddingNames, options);
    this.weight = new Parameter(normal(device, [rows, width], { deviation, ...seedsOf(seeds).next() }));
  }

  /**
   * Returns the rows of the given ids.
   *
   * @param ids int32 [...]
   * @returns [..., width]
   * @throws StepsizeError `invalid-argument` if the type does not fit; `device-failed` when the result is read, if an
   * id is not a row
   */
  forward(ids: Tensor): Tensor {
    return embedding(ids, this.weight);
  }
}

/** Options of {@link LayerNorm} and {@link RMSNorm}. */
export interface NormOptions {
  /** Device of the weights. */
  readonly device: Device;
  /** Whether the layer has a trained gamma (and beta). Default true. */
  readonly learned?: boolean | undefined;
  /** Number that is added to the variance, or to the mean square. Default 1e-5. */
  readonly epsilon?: number | undefined;
  /** Has no effect. It is accepted so that all layers of a model can have the same options. */
  readonly seeds?: LayerOptions["seeds"] | undefined;
}

const normNames = optionNames<NormOptions>({ device: true, learned: true, epsilon: true, seeds: true });

/**
 * A layer normalization layer: normalizes every row to mean 0 and variance 1; see {@link layerNorm}.
 *
 * @example
 * ```ts
 * import { nn, openDevice, ops } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const norm = new nn.LayerNorm(16, { device });
 * const y = norm.forward(ops.normal(device, [2, 8, 16], { seed: 0 }));
 * ```
 */
export class LayerNorm extends Module {
  /** Trained factor, [width]. It starts at 1; `undefined` if `learned` is false. */
  readonly gamma: Parameter | undefined;
  /** Trained offset, [width]. It starts at 0; `undefined` if `learned` is false. */
  readonly beta: Parameter | undefined;
  /** Number that is added to the variance. */
  readonly epsilon: number;

  /**
   * Creates the layer.
   *
   * @param width size of the last axis
   * @throws StepsizeError `invalid-argument` if the size or an option is invalid; `out-of-memory`
   */

  constructor(width: number, options: NormOptions) {
    super();
    const { device, learned = true, epsilon = 1e-5 } = checkedOptions("LayerNorm", normNames, options);
    this.gamma = learned ? new Parameter(ones(device, [width])) : undefined;
    this.beta = learned ? new Parameter(zeros(device, [width])) : undefined;
    this.epsilon = epsilon;
  }

  /** Returns the normalized rows of `x` [..., width]. */
  forward(x: Tensor): Tensor {
    const { gamma, beta, epsilon } = this;
    return layerNorm(x, gamma && beta && { gamma, beta }, { epsilon });
  }

  protected override torchName(member: string): string {
    return torchNamesOfNorms[member] ?? member;
  }
}

/**
 * A root mean square normalization layer: divides every row by its root mean square; see {@link rmsNorm}.
 *
 * @example
 * ```ts
 * import { nn, openDevice, ops } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const norm = new nn.RMSNorm(16, { device });
 * const y = norm.forward(ops.normal(device, [2, 8, 16], { seed: 0 }));
 * ```
 */
export class RMSNorm extends Module {
  /** Trained factor, [width]. It starts at 1; `undefined` if `learned` is false. */
  readonly gamma: Parameter | undefined;
  /** Number that is added to the mean square. */
  readonly epsilon: number;

  /**
   * Creates the layer.
   *
   * @param width size of the last axis
   * @throws StepsizeError `invalid-argument` if the size or an option is invalid; `out-of-memory`
   */

  constructor(width: number, options: NormOptions) {
    super();
    const { device, learned = true, epsilon = 1e-5 } = checkedOptions("RMSNorm", normNames, options);
    this.gamma = learned ? new Parameter(ones(device, [width])) : undefined;
    this.epsilon = epsilon;
  }

  /** Returns the normalized rows of `x` [..., width]. */
  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.gamma, { epsilon: this.epsilon });
  }

  protected override torchName(member: string): string {
    return torchNamesOfNorms[member] ?? member;
  }
}
