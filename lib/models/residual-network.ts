import type { Device } from "../native/index.js";
import { BatchNorm, Conv2d, GlobalAveragePool, Linear, MaxPool2d, Module, Seeds } from "../nn/index.js";
import type { Tensor, TorchNames } from "../tensor/index.js";
import type { BasicBlock, BottleneckBlock } from "./residual-blocks.js";

/** What the residual networks differ in. */
export interface ResidualArchitecture {
  /** The first convolution, and whether a 3×3 max pooling of stride 2 follows it. */
  readonly stem: { readonly kernel: number; readonly stride: number; readonly pool: boolean };
  readonly block: typeof BasicBlock | typeof BottleneckBlock;
  /** Blocks of each stage. Every stage after the first halves height and width and doubles the width of its blocks. */
  readonly stages: readonly number[];
  /** Channels after the stem, and width of the first stage's blocks. */
  readonly width: number;
  readonly classes: number;
  readonly channels: number;
}

/** torchvision's names, where they differ. */
const torchNames = new Map([
  ["stem", "conv1"],
  ["stemNorm", "bn1"],
  ["classifier", "fc"],
]);

/** A residual network: a stem, stages of blocks, the mean over the image, and one linear layer. */
export class ResNet extends Module {
  readonly stem: Conv2d;
  readonly stemNorm: BatchNorm;
  readonly stemPool: MaxPool2d | undefined;
  /** Blocks of all stages, one after another. */
  readonly blocks: readonly (BasicBlock | BottleneckBlock)[];
  readonly pool = new GlobalAveragePool();
  readonly classifier: Linear;
  /** Blocks of each stage. */
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

  /** From [N, height, width, channels] to logits [N, classes]. */
  forward(images: Tensor): Tensor {
    let x = this.stemNorm.forward(this.stem.forward(images), "relu");
    if (this.stemPool) x = this.stemPool.forward(x);
    for (const block of this.blocks) x = block.forward(x);
    return this.classifier.forward(this.pool.forward(x));
  }

  /** The names in torchvision, and in the networks of depth 6n + 2 that are written after it. */
  override torchNames(): TorchNames {
    return { ...super.torchNames(), classifier: "classifier" };
  }

  protected override torchName(member: string): string {
    const block = member.match(/^blocks\.(\d+)$/);
    if (block) return this.#torchPlaces[Number(block[1])] as string;
    return torchNames.get(member) ?? member;
  }

  /** torchvision's names of the blocks, such as `layer2.0`. */
  get #torchPlaces(): string[] {
    return this.stages.flatMap((count, stage) => Array.from({ length: count }, (_, i) => `layer${stage + 1}.${i}`));
  }
}
