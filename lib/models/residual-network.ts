import type { Device } from "../native/index.js";
import { BatchNorm, Conv2d, GlobalAveragePool, Linear, MaxPool2d, Module, Seeds } from "../nn/index.js";
import type { Tensor, TorchNames } from "../tensor/index.js";
import type { BasicBlock, BottleneckBlock } from "./residual-blocks.js";

/** The architecture of a residual network. */
export interface ResidualArchitecture {
  /** The first convolution, and whether a 3×3 max pooling of stride 2 follows it. */
  readonly stem: { readonly kernel: number; readonly stride: number; readonly pool: boolean };
  /** Class of the blocks. */
  readonly block: typeof BasicBlock | typeof BottleneckBlock;
  /**
   * Number of blocks of each stage. Every stage after the first halves the image and doubles the width of its blocks.
   */
  readonly stages: readonly number[];
  /** Number of channels after the stem, and width of the blocks of the first stage. */
  readonly width: number;
  /** Number of classes. */
  readonly classes: number;
  /** Number of channels of the images. */
  readonly channels: number;
}

/** Names in torchvision that differ from those here. */
const torchNames = new Map([
  ["stem", "conv1"],
  ["stemNorm", "bn1"],
  ["classifier", "fc"],
]);

/**
 * A residual network: a stem, stages of blocks, the mean over the image, and a linear layer.
 *
 * @example
 * ```ts
 * import { models, openDevice } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const model = models.resnet({ depth: 8, classes: 10, device, seed: 0 });
 * console.log(model.stages); // 1, 1, 1
 * ```
 */
export class ResNet extends Module {
  /** First convolution. */
  readonly stem: Conv2d;
  /** Norm after the first convolution. */
  readonly stemNorm: BatchNorm;
  /** Max pooling after the stem; `undefined` if there is none. */
  readonly stemPool: MaxPool2d | undefined;
  /** Blocks of all stages, in their order. */
  readonly blocks: readonly (BasicBlock | BottleneckBlock)[];
  /** Mean over height and width. */
  readonly pool = new GlobalAveragePool();
  /** Linear layer to the classes. */
  readonly classifier: Linear;
  /** Number of blocks of each stage. */
  readonly stages: readonly number[];

  /** @internal Use `resnet`, `resnet18`, `resnet34` or `resnet50`. */
  constructor(architecture: ResidualArchitecture, { device, seed = 0 }: { device: Device; seed?: number | undefined }) {
    super();
    const { stem, block: Block, stages, width, classes, channels } = architecture;
    const place = { device, seeds: new Seeds(seed) };
    const { kernel, stride } = stem;
    this.stem = new Conv2d(channels, width, { kernel, stride, padding: (kernel - 1) / 2, ...place });
    this.stemNorm = new BatchNorm(width, place);
    this.stemPool = stem.pool ? new MaxPool2d({ size: 3, stride: 2, padding: 1 }) : undefined;
    let inputs = width;
    this.blocks = stages.flatMap((count, stage) =>
      Array.from({ length: count }, (_, i) => {
        const block = new Block(inputs, width * 2 ** stage, i === 0 && stage > 0 ? 2 : 1, place);
        inputs = width * 2 ** stage * Block.expansion;
        return block;
      }),
    );
    this.classifier = new Linear(inputs, classes, place);
    this.stages = stages;
  }

  /**
   * Computes logits.
   *
   * @param images [N, height, width, channels]
   * @returns [N, classes]
   * @throws StepsizeError `invalid-argument` if the shape or type does not fit
   */
  forward(images: Tensor): Tensor {
    let x = this.stemNorm.forward(this.stem.forward(images), "relu");
    if (this.stemPool) x = this.stemPool.forward(x);
    for (const block of this.blocks) x = block.forward(x);
    return this.classifier.forward(this.pool.forward(x));
  }

  /** Returns the names in torchvision, and in common implementations of the networks of depth 6n + 2. */
  override torchNames(): TorchNames {
    return { ...super.torchNames(), classifier: "classifier" };
  }

  protected override torchName(member: string): string {
    return torchNames.get(member) ?? this.#torchNamesOfBlocks.get(member) ?? member;
  }

  /** Names of the blocks in torchvision, such as `layer2.0`. */
  get #torchNamesOfBlocks(): ReadonlyMap<string, string> {
    const inStages = this.stages.flatMap((count, stage) =>
      Array.from({ length: count }, (_, i) => `layer${stage + 1}.${i}`),
    );
    return new Map(inStages.map((name, i) => [`blocks.${i}`, name]));
  }
}
