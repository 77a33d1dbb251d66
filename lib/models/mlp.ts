import { expectShape } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import { Flatten, Linear, Module, Seeds } from "../nn/index.js";
import { checkedOptions, optionNames } from "../options.js";
import type { Tensor } from "../tensor/index.js";
import { maxLayers, type PlaceOptions, placeNames } from "./place.js";

/** Options of {@link mlp}. */
export interface MLPOptions {
  /** Number of values per item. */
  readonly inputs: number;
  /** Sizes of the hidden layers. Default [512, 512]. */
  readonly hidden?: readonly number[] | undefined;
  /** Number of outputs. */
  readonly classes: number;
}

const mlpNames = optionNames<MLPOptions & PlaceOptions>({
  ...placeNames,
  inputs: true,
  hidden: true,
  classes: true,
});

/**
 * A multi-layer perceptron: linear layers with ReLUs between them; see {@link mlp}.
 *
 * @example
 * ```ts
 * import { models, openDevice } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const model = new models.MLP({ inputs: 784, hidden: [128], classes: 10, device, seed: 0 });
 * console.log(model.parameters().length); // 4: two weights and two biases
 * ```
 */
export class MLP extends Module {
  /** Flattens the inputs to [N, inputs]. */
  readonly flatten = new Flatten();
  /** The linear layers, the first at the inputs. All but the last have a ReLU. */
  readonly layers: readonly Linear[];

  /**
   * Creates the model.
   *
   * @throws StepsizeError `invalid-argument` if an option is unknown or invalid; `out-of-memory`
   */

  constructor(options: MLPOptions & PlaceOptions) {
    super();
    const { inputs, hidden = [512, 512], classes, device, seed = 0 } = checkedOptions("mlp", mlpNames, options);
    const seeds = new Seeds(seed);
    expectShape("mlp.hidden", hidden);
    if (hidden.length > maxLayers) invalidArgument("mlp.hidden", `at most ${maxLayers} layers`, hidden);
    let width = inputs;
    this.layers = [...hidden, classes].map((outputs, i) => {
      const activation = i < hidden.length ? { activation: "relu" as const } : {};
      const layer = new Linear(width, outputs, { device, seeds, ...activation });
      width = outputs;
      return layer;
    });
  }

  /**
   * Computes logits.
   *
   * @param x [N, …] with `inputs` values per item
   * @returns [N, classes]
   * @throws StepsizeError `invalid-argument` if the shape or type does not fit
   */
  forward(x: Tensor): Tensor {
    return this.layers.reduce((value, layer) => layer.forward(value), this.flatten.forward(x));
  }
}

/**
 * Makes a multi-layer perceptron with ReLUs, from [N, …] with `inputs` values per item to logits [N, classes].
 *
 * @throws StepsizeError `invalid-argument` if an option is unknown or invalid; `out-of-memory`
 *
 * @example
 * ```ts
 * import { models, openDevice, ops } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const model = models.mlp({ inputs: 784, hidden: [128], classes: 10, device, seed: 0 });
 * console.log(model.forward(ops.zeros(device, [32, 28, 28, 1])).shape); // 32, 10
 * ```
 */
export function mlp(options: MLPOptions & PlaceOptions): MLP {
  return new MLP(options);
}
