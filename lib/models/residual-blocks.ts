import { BatchNorm, Conv2d, Module } from "../nn/index.js";
import { addRelu, type Tensor } from "../tensor/index.js";
import type { Place } from "./place.js";

/** Names in torchvision that differ from those here. */
const torchNames = new Map([
  ["norm1", "bn1"],
  ["norm2", "bn2"],
  ["norm3", "bn3"],
  ["shortcut", "downsample.0"],
  ["shortcutNorm", "downsample.1"],
]);

/**
 * The block relu(residual + x). If the shape changes, x goes through a normalized 1×1 convolution (He et al., option
 * B).
 */
abstract class ResidualBlock extends Module {
  abstract readonly shortcut: Conv2d | undefined;
  abstract readonly shortcutNorm: BatchNorm | undefined;

  protected abstract residual(x: Tensor): Tensor;

  protected override torchName(member: string): string {
    return torchNames.get(member) ?? member;
  }

  forward(x: Tensor): Tensor {
    const residual = this.residual(x);
    const direct = this.shortcut && this.shortcutNorm ? this.shortcutNorm.forward(this.shortcut.forward(x)) : x;
    return addRelu(residual, direct);
  }
}

/**
 * Makes the shortcut of a block whose outputs have another shape than its inputs; `undefined` if the shape is the same.
 */
function projection(inputs: number, outputs: number, stride: number, place: Place) {
  if (stride === 1 && inputs === outputs) return { shortcut: undefined, shortcutNorm: undefined };
  const shortcut = new Conv2d(inputs, outputs, { kernel: 1, stride, ...place });
  return { shortcut, shortcutNorm: new BatchNorm(outputs, place) };
}

/** A block of two 3×3 convolutions. The first has the stride. */
export class BasicBlock extends ResidualBlock {
  /** Output channels for each channel of the block's width. */
  static readonly expansion = 1;
  readonly conv1: Conv2d;
  readonly norm1: BatchNorm;
  readonly conv2: Conv2d;
  readonly norm2: BatchNorm;
  readonly shortcut: Conv2d | undefined;
  readonly shortcutNorm: BatchNorm | undefined;

  constructor(inputs: number, width: number, stride: number, place: Place) {
    super();
    this.conv1 = new Conv2d(inputs, width, { kernel: 3, stride, padding: 1, ...place });
    this.norm1 = new BatchNorm(width, place);
    this.conv2 = new Conv2d(width, width, { kernel: 3, padding: 1, ...place });
    this.norm2 = new BatchNorm(width, place);
    ({ shortcut: this.shortcut, shortcutNorm: this.shortcutNorm } = projection(inputs, width, stride, place));
  }

  protected residual(x: Tensor): Tensor {
    const inner = this.norm1.forward(this.conv1.forward(x), "relu");
    return this.norm2.forward(this.conv2.forward(inner));
  }
}

/**
 * A block of three convolutions: 1×1 to the width, 3×3, and 1×1 to four times the width.
 *
 * The 3×3 convolution has the stride, as in torchvision ("v1.5"). In the paper the first 1×1 convolution has it, which
 * ignores three quarters of the pixels.
 */
export class BottleneckBlock extends ResidualBlock {
  /** Output channels for each channel of the block's width. */
  static readonly expansion = 4;
  readonly conv1: Conv2d;
  readonly norm1: BatchNorm;
  readonly conv2: Conv2d;
  readonly norm2: BatchNorm;
  readonly conv3: Conv2d;
  readonly norm3: BatchNorm;
  readonly shortcut: Conv2d | undefined;
  readonly shortcutNorm: BatchNorm | undefined;

  constructor(inputs: number, width: number, stride: number, place: Place) {
    super();
    const outputs = width * BottleneckBlock.expansion;
    this.conv1 = new Conv2d(inputs, width, { kernel: 1, ...place });
    this.norm1 = new BatchNorm(width, place);
    this.conv2 = new Conv2d(width, width, { kernel: 3, stride, padding: 1, ...place });
    this.norm2 = new BatchNorm(width, place);
    this.conv3 = new Conv2d(width, outputs, { kernel: 1, ...place });
    this.norm3 = new BatchNorm(outputs, place);
    ({ shortcut: this.shortcut, shortcutNorm: this.shortcutNorm } = projection(inputs, outputs, stride, place));
  }

  protected residual(x: Tensor): Tensor {
    const narrow = this.norm1.forward(this.conv1.forward(x), "relu");
    const inner = this.norm2.forward(this.conv2.forward(narrow), "relu");
    return this.norm3.forward(this.conv3.forward(inner));
  }
}
