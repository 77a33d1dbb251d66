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
  /** Standard deviation of the normal distribution that the rows are drawn from; default 1/√width. */
  readonly deviation?: number;
}

const embeddingNames = optionNames<EmbeddingOptions>({ device: true, seeds: true, deviation: true });

/** A learned row for each id: from int32 [...] to [..., width]. */
export class Embedding extends Module {
  /** [rows, width] */
  readonly weight: Parameter;

  constructor(rows: number, width: number, options: EmbeddingOptions) {
    super();
    expectFinite("width", width);
    const { device, seeds, deviation = width ** -0.5 } = checkedOptions("Embedding", embeddingNames, options);
    this.weight = new Parameter(normal(device, [rows, width], { deviation, ...seedsOf(seeds).next() }));
  }

  forward(ids: Tensor): Tensor {
    return embedding(ids, this.weight);
  }
}

/** Options of {@link LayerNorm} and {@link RMSNorm}. */
export interface NormOptions {
  readonly device: Device;
  /** Whether gamma (and beta) are learned; default true. */
  readonly learned?: boolean;
  /** Default 1e-5. */
  readonly epsilon?: number;
  /** Has no effect, since nothing is drawn: all layers of a model can be given the same options. */
  readonly seeds?: LayerOptions["seeds"];
}

const normNames = optionNames<NormOptions>({ device: true, learned: true, epsilon: true, seeds: true });

/** Normalises every row to mean 0 and variance 1; see {@link layerNorm}. */
export class LayerNorm extends Module {
  readonly gamma: Parameter | undefined;
  readonly beta: Parameter | undefined;
  readonly epsilon: number;

  constructor(width: number, options: NormOptions) {
    super();
    const { device, learned = true, epsilon = 1e-5 } = checkedOptions("LayerNorm", normNames, options);
    this.gamma = learned ? new Parameter(ones(device, [width])) : undefined;
    this.beta = learned ? new Parameter(zeros(device, [width])) : undefined;
    this.epsilon = epsilon;
  }

  forward(x: Tensor): Tensor {
    const { gamma, beta, epsilon } = this;
    return layerNorm(x, gamma && beta && { gamma, beta }, { epsilon });
  }

  protected override torchName(member: string): string {
    return torchNamesOfNorms[member] ?? member;
  }
}

/** Divides every row by its root mean square; see {@link rmsNorm}. */
export class RMSNorm extends Module {
  readonly gamma: Parameter | undefined;
  readonly epsilon: number;

  constructor(width: number, options: NormOptions) {
    super();
    const { device, learned = true, epsilon = 1e-5 } = checkedOptions("RMSNorm", normNames, options);
    this.gamma = learned ? new Parameter(ones(device, [width])) : undefined;
    this.epsilon = epsilon;
  }

  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.gamma, { epsilon: this.epsilon });
  }

  protected override torchName(member: string): string {
    return torchNamesOfNorms[member] ?? member;
  }
}
