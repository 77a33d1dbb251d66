import { invalidArgument } from "../errors.js";
import { checkedOptions, optionNames } from "../options.js";
import { maxLayers, type PlaceOptions, placeNames } from "./place.js";
import { BasicBlock } from "./residual-blocks.js";
import { ResNet } from "./residual-network.js";

/** Options of {@link resnet}. */
export interface ResNetOptions {
  /** Number of layers: 6n + 2 for some n ≥ 1, such as 8, 14, 20, 32, 44, 56 or 110. */
  readonly depth: number;
  /** Number of classes. */
  readonly classes: number;
  /** Number of channels of the images. Default 3. */
  readonly channels?: number | undefined;
  /** Number of channels of the first stage. The others have two and four times as many. Default 16. */
  readonly width?: number | undefined;
}

const names = optionNames<ResNetOptions & PlaceOptions>({
  ...placeNames,
  depth: true,
  classes: true,
  channels: true,
  width: true,
});

/**
 * Makes a residual network for small images, from [N, height, width, channels] to logits [N, classes].
 *
 * It has 6n + 2 layers, batch normalization, and 1×1 convolutions as shortcuts if the shape changes (option B).
 *
 * Source: He et al., "Deep residual learning for image recognition", CVPR 2016, section 4.2.
 *
 * @throws StepsizeError `invalid-argument` if the depth is not 6n + 2, or if an option is unknown or invalid;
 * `out-of-memory`
 *
 * @example
 * ```ts
 * import { models, openDevice, ops } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const model = models.resnet({ depth: 8, classes: 10, device, seed: 0 });
 * const logits = model.forward(ops.zeros(device, [1, 32, 32, 3])); // [1, 10]
 * ```
 */
export function resnet(options: ResNetOptions & PlaceOptions): ResNet {
  const { depth, classes, channels = 3, width = 16, ...place } = checkedOptions("resnet", names, options);
  const perStage = typeof depth === "number" ? (depth - 2) / 6 : Number.NaN;
  if (!Number.isInteger(perStage) || perStage < 1 || depth > maxLayers)
    invalidArgument("depth", `6n + 2 for some n ≥ 1: 8, 14, 20, 32, … up to ${maxLayers}`, depth);
  const stages = [perStage, perStage, perStage];
  const stem = { kernel: 3, stride: 1, pool: false };
  return new ResNet({ stem, block: BasicBlock, stages, width, classes, channels }, place);
}
