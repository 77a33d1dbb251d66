import type { Device } from "../native/index.js";
import { embedding, layerNorm, normal, ones, rmsNorm, type Tensor, zeros } from "../tensor/index.js";
import { seedsOf } from "./initialize.js";
import { type LayerOptions, torchNamesOfNorms } from "./layers.js";
import { Module } from "./module.js";
import { Parameter } from "./parameter.js";

/** A learned row for each id: from int32 [...] to [..., width]. */
export class Embedding extends Module {
  /** [rows, width] */
  readonly weight: Parameter;

  /** @param options deviation: of the normal distribution that the rows are drawn from; default 1/√width */
  constructor(
    rows: number,
    width: number,
    { device, seeds, deviation = width ** -0.5 }: Pick<LayerOptions, "device" | "seeds"> & { deviation?: number },
  ) {
    super();
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
}

/** Normalises every row to mean 0 and variance 1; see {@link layerNorm}. */
export class LayerNorm extends Module {
  readonly gamma: Parameter | undefined;
  readonly beta: Parameter | undefined;
  readonly epsilon: number;

  constructor(width: number, { device, learned = true, epsilon = 1e-5 }: NormOptions) {
    super();
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

  constructor(width: number, { device, learned = true, epsilon = 1e-5 }: NormOptions) {
    super();
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
