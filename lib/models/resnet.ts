import { invalidArgument } from "../errors.js";
import type { Device } from "../native/index.js";
import { BatchNorm, Conv2d, GlobalAveragePool, Linear, Module, Seeds } from "../nn/index.js";
import { add, relu, type Tensor } from "../tensor/index.js";

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

interface Place {
  readonly device: Device;
  readonly seeds: Seeds;
}

/** Two 3×3 convolutions and a shortcut, which is a 1×1 convolution where the shape changes. */
class ResidualBlock extends Module {
  readonly conv1: Conv2d;
  readonly norm1: BatchNorm;
  readonly conv2: Conv2d;
  readonly norm2: BatchNorm;
  readonly shortcut: Conv2d | undefined;
  readonly shortcutNorm: BatchNorm | undefined;

  constructor(inputs: number, outputs: number, stride: number, place: Place) {
    super();
    this.conv1 = new Conv2d(inputs, outputs, { kernel: 3, stride, padding: 1, ...place });
    this.norm1 = new BatchNorm(outputs, place);
    this.conv2 = new Conv2d(outputs, outputs, { kernel: 3, padding: 1, ...place });
    this.norm2 = new BatchNorm(outputs, place);
    const changes = stride !== 1 || inputs !== outputs;
    this.shortcut = changes ? new Conv2d(inputs, outputs, { kernel: 1, stride, ...place }) : undefined;
    this.shortcutNorm = changes ? new BatchNorm(outputs, place) : undefined;
  }

  forward(x: Tensor): Tensor {
    const inner = relu(this.norm1.forward(this.conv1.forward(x)));
    const residual = this.norm2.forward(this.conv2.forward(inner));
    const direct = this.shortcut && this.shortcutNorm ? this.shortcutNorm.forward(this.shortcut.forward(x)) : x;
    return relu(add(residual, direct));
  }
}

/** The residual network for small images of He et al. 2016, section 4.2. */
export class ResNet extends Module {
  readonly stem: Conv2d;
  readonly stemNorm: BatchNorm;
  readonly blocks: readonly ResidualBlock[];
  readonly pool = new GlobalAveragePool();
  readonly classifier: Linear;

  constructor({
    depth,
    classes,
    channels = 3,
    width = 16,
    device,
    seed,
  }: ResNetOptions & { device: Device; seed: number }) {
    super();
    const perStage = (depth - 2) / 6;
    if (!Number.isInteger(perStage) || perStage < 1)
      invalidArgument("depth", "6n + 2 for some n ≥ 1: 8, 14, 20, 32, …", depth);
    const place = { device, seeds: new Seeds(seed) };
    this.stem = new Conv2d(channels, width, { kernel: 3, padding: 1, ...place });
    this.stemNorm = new BatchNorm(width, place);
    const blocks: ResidualBlock[] = [];
    for (const stage of [0, 1, 2])
      for (let i = 0; i < perStage; i++) {
        const first = i === 0 && stage > 0;
        const outputs = width * 2 ** stage;
        blocks.push(new ResidualBlock(first ? outputs / 2 : outputs, outputs, first ? 2 : 1, place));
      }
    this.blocks = blocks;
    this.classifier = new Linear(width * 4, classes, place);
  }

  /** From [N, height, width, channels] to logits [N, classes]. */
  forward(images: Tensor): Tensor {
    let x = relu(this.stemNorm.forward(this.stem.forward(images)));
    for (const block of this.blocks) x = block.forward(x);
    return this.classifier.forward(this.pool.forward(x));
  }
}

/**
 * A residual network for small images: depth 6n + 2, batch norm, 1×1 convolutions as shortcuts where the shape changes
 * (option B). Source: He et al., "Deep residual learning for image recognition", CVPR 2016.
 */
export function resnet(options: ResNetOptions & { device: Device; seed?: number }): ResNet {
  return new ResNet({ ...options, seed: options.seed ?? 0 });
}
