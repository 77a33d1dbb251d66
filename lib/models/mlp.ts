import { expectShape } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import { Flatten, Linear, Module, Seeds } from "../nn/index.js";
import { checkedOptions, optionNames } from "../options.js";
import type { Tensor } from "../tensor/index.js";
import { mostLayers, type PlaceOptions, placeNames } from "./place.js";

/** Options of {@link mlp}. */
export interface MLPOptions {
  /** Numbers per item. */
  readonly inputs: number;
  /** Sizes of the hidden layers; default [512, 512]. */
  readonly hidden?: readonly number[];
  /** Number of outputs. */
  readonly classes: number;
}

const mlpNames = optionNames<MLPOptions & PlaceOptions>({
  ...placeNames,
  inputs: true,
  hidden: true,
  classes: true,
});

/** Linear layers with ReLUs between them. */
export class MLP extends Module {
  readonly flatten = new Flatten();
  readonly layers: readonly Linear[];

  constructor(options: MLPOptions & PlaceOptions) {
    super();
    const { inputs, hidden = [512, 512], classes, device, seed = 0 } = checkedOptions("mlp", mlpNames, options);
    const seeds = new Seeds(seed);
    expectShape("mlp.hidden", hidden);
    if (hidden.length > mostLayers) invalidArgument("mlp.hidden", `at most ${mostLayers} layers`, hidden);
    const sizes = [inputs, ...hidden, classes];
    const last = hidden.length;
    this.layers = sizes.slice(1).map((outputs, i) => {
      const activation = i < last ? { activation: "relu" as const } : {};
      return new Linear(sizes[i] as number, outputs, { device, seeds, ...activation });
    });
  }

  /** From [N, …] with `inputs` numbers each to [N, classes]. */
  forward(x: Tensor): Tensor {
    return this.layers.reduce((value, layer) => layer.forward(value), this.flatten.forward(x));
  }
}

/** A multi-layer perceptron with ReLUs; inputs of any shape are flattened. */
export function mlp(options: MLPOptions & PlaceOptions): MLP {
  return new MLP(options);
}
