import { invalidArgument } from "../errors.js";
import { checkedOptions, optionNames } from "../options.js";
import { type PlaceOptions, placeNames } from "./place.js";
import { BasicBlock, BottleneckBlock } from "./residual-blocks.js";
import { type ResidualArchitecture, ResNet } from "./residual-network.js";

/** Options of {@link resnet18}, {@link resnet34} and {@link resnet50}. */
export interface ImageNetResNetOptions {
  /** Number of classes. */
  readonly classes: number;
  /** Channels of the images; default 3. */
  readonly channels?: number;
  /**
   * How an image comes in. `imagenet`: a 7×7 convolution of stride 2 and a 3×3 max pooling of stride 2, so that the
   * network's five halvings leave 7 of 224 pixels a side. `cifar`: a 3×3 convolution of stride 1, for images of a few
   * dozen pixels, of which five halvings would leave one. Default `imagenet`.
   */
  readonly stem?: keyof typeof stems;
  /** Width of the first stage; it doubles three times; default 64. */
  readonly width?: number;
}

const stems = {
  imagenet: { kernel: 7, stride: 2, pool: true },
  cifar: { kernel: 3, stride: 1, pool: false },
} as const;

/** @internal The stem for images of this size where nobody chose one. */
export function stemFor(height: number, width: number): keyof typeof stems {
  // The stages halve three times: 64 pixels leave 8, which the other stem would leave of 256.
  return Math.max(height, width) > 64 ? "imagenet" : "cifar";
}

const names = optionNames<ImageNetResNetOptions & PlaceOptions>({
  ...placeNames,
  classes: true,
  channels: true,
  stem: true,
  width: true,
});

function build(
  name: string,
  shape: Pick<ResidualArchitecture, "block" | "stages">,
  options: ImageNetResNetOptions & PlaceOptions,
): ResNet {
  const { classes, channels = 3, stem = "imagenet", width = 64, ...place } = checkedOptions(name, names, options);
  if (!Object.hasOwn(stems, stem)) invalidArgument("stem", Object.keys(stems).join(" or "), stem);
  return new ResNet({ ...shape, stem: stems[stem], width, classes, channels }, place);
}

/**
 * The residual network of 18 layers, in torchvision's shapes: 11,689,512 parameters for 1000 classes, 11,173,962 for 10
 * with the stem `cifar`. Source: He et al., "Deep residual learning for image recognition", CVPR 2016, table 1.
 *
 * Convolutions are drawn with Kaiming's fan-out deviation, norms start at 1 and 0, the linear layer evenly in
 * ±1/√inputs: what torchvision does.
 */
export function resnet18(options: ImageNetResNetOptions & PlaceOptions): ResNet {
  return build("resnet18", { block: BasicBlock, stages: [2, 2, 2, 2] }, options);
}

/** As {@link resnet18}, of 34 layers: 21,797,672 parameters for 1000 classes. */
export function resnet34(options: ImageNetResNetOptions & PlaceOptions): ResNet {
  return build("resnet34", { block: BasicBlock, stages: [3, 4, 6, 3] }, options);
}

/**
 * As {@link resnet18}, of 50 layers in bottleneck blocks: 25,557,032 parameters for 1000 classes. The stride is on the
 * 3×3 convolutions, as in torchvision.
 */
export function resnet50(options: ImageNetResNetOptions & PlaceOptions): ResNet {
  return build("resnet50", { block: BottleneckBlock, stages: [3, 4, 6, 3] }, options);
}
