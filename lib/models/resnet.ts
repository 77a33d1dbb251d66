import { invalidArgument } from "../errors.js";
import { checkedOptions, optionNames } from "../options.js";
import { mostLayers, type PlaceOptions, placeNames } from "./place.js";
import { BasicBlock } from "./residual-blocks.js";
import { ResNet } from "./residual-network.js";

/** Options of {@link resnet}. */
export interface ResNetOptions {
  /** 6n + 2: 8, 14, 20, 32, 44, 56, 110. */
  readonly depth: number;
  /** Number of classes. */
  readonly classes: number;
  /** Channels of the images; default 3. */
  readonly channels?: number;
  /** Channels of the first stage; the others have twice and four times as many; default 16. */
  readonly width?: number;
}

const names = optionNames<ResNetOptions & PlaceOptions>({
  ...placeNames,
  depth: true,
  classes: true,
  channels: true,
  width: true,
});

/**
 * A residual network for small images: depth 6n + 2, batch norm, 1×1 convolutions as shortcuts where the shape changes
 * (option B). Source: He et al., "Deep residual learning for image recognition", CVPR 2016, section 4.2.
 *
 * @throws StepsizeError `invalid-argument` for a depth that is not 6n + 2
 */
export function resnet(options: ResNetOptions & PlaceOptions): ResNet {
  const { depth, classes, channels = 3, width = 16, ...place } = checkedOptions("resnet", names, options);
  const perStage = typeof depth === "number" ? (depth - 2) / 6 : Number.NaN;
  if (!Number.isInteger(perStage) || perStage < 1 || depth > mostLayers)
    invalidArgument("depth", `6n + 2 for some n ≥ 1: 8, 14, 20, 32, … up to ${mostLayers}`, depth);
  const stages = [perStage, perStage, perStage];
  const stem = { kernel: 3, stride: 1, pool: false };
  return new ResNet({ stem, block: BasicBlock, stages, width, classes, channels }, place);
}
