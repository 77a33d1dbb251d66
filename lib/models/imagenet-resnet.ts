import { invalidArgument } from "../errors.js";
import { checkedOptions, optionNames } from "../options.js";
import { type PlaceOptions, placeNames } from "./place.js";
import { BasicBlock, BottleneckBlock } from "./residual-blocks.js";
import { type ResidualArchitecture, ResNet } from "./residual-network.js";

/** Options of {@link resnet18}, {@link resnet34} and {@link resnet50}. */
export interface ImageNetResNetOptions {
  /** Number of classes. */
  readonly classes: number;
  /** Number of channels of the images. Default 3. */
  readonly channels?: number | undefined;
  /**
   * First layers of the network. Default `"imagenet"`.
   *
   * - `"imagenet"`: a 7×7 convolution of stride 2 and a 3×3 max pooling of stride 2. The whole network reduces a side
   * of
   *   224 pixels to 7.
   * - `"cifar"`: a 3×3 convolution of stride 1, for images of a few dozen pixels.
   */
  readonly stem?: keyof typeof stems | undefined;
  /** Width of the blocks of the first stage. It doubles with each of the three further stages. Default 64. */
  readonly width?: number | undefined;
}

const stems = {
  imagenet: { kernel: 7, stride: 2, pool: true },
  cifar: { kernel: 3, stride: 1, pool: false },
} as const;

/** @internal Returns the default stem for images of a size. */
export function stemFor(height: number, width: number): keyof typeof stems {
  // The stages halve the sides three times. 64 pixels give 8 with the stem `cifar`, as 256 pixels do with `imagenet`.
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
 * Makes a ResNet-18 in torchvision's shapes, from [N, height, width, channels] to logits [N, classes].
 *
 * It has 11,689,512 parameters for 1000 classes, and 11,173,962 for 10 classes with the stem `cifar`. Initial weights
 * are those of torchvision: {@link kaimingNormal} for convolutions, 1 and 0 for norms, {@link fanInUniform} for the
 * linear layer.
 *
 * Source: He et al., "Deep residual learning for image recognition", CVPR 2016, table 1.
 *
 * @throws StepsizeError `invalid-argument` if an option is unknown or invalid; `out-of-memory`
 *
 * @example
 * ```ts
 * import { models, openDevice } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const model = models.resnet18({ classes: 10, stem: "cifar", device, seed: 0 });
 * ```
 */
export function resnet18(options: ImageNetResNetOptions & PlaceOptions): ResNet {
  return build("resnet18", { block: BasicBlock, stages: [2, 2, 2, 2] }, options);
}

/**
 * Makes a ResNet-34 in torchvision's shapes; see {@link resnet18}. It has 21,797,672 parameters for 1000 classes.
 *
 * @throws StepsizeError `invalid-argument` if an option is unknown or invalid; `out-of-memory`
 */
export function resnet34(options: ImageNetResNetOptions & PlaceOptions): ResNet {
  return build("resnet34", { block: BasicBlock, stages: [3, 4, 6, 3] }, options);
}

/**
 * Makes a ResNet-50 with bottleneck blocks in torchvision's shapes; see {@link resnet18}.
 *
 * It has 25,557,032 parameters for 1000 classes. The 3×3 convolutions have the stride, as in torchvision.
 *
 * @throws StepsizeError `invalid-argument` if an option is unknown or invalid; `out-of-memory`
 */
export function resnet50(options: ImageNetResNetOptions & PlaceOptions): ResNet {
  return build("resnet50", { block: BottleneckBlock, stages: [3, 4, 6, 3] }, options);
}
