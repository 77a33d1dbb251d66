// Residual networks in torchvision's shapes, compared with PyTorch through files of its weights.
import { rmSync } from "node:fs";
import { expect, test } from "vitest";
import { worstRatio } from "#lib/check/trainings.js";
import type { ResNet } from "#lib/models/index.js";
import type { Device } from "#lib/native/index.js";
import { crossEntropy } from "#lib/nn/index.js";
import { backward, mean, noGrad, relu, square, type Tensor, tensor, tidy } from "#lib/tensor/index.js";
import { loadTorchWeights } from "#lib/weights/index.js";
import { relativeError } from "../optim/support/runs.js";
import { onEveryDevice, physicalDevices } from "../support/devices.js";
import { temporaryFolders } from "../support/folders.js";
import { labelsOf } from "../support/numbers.js";
import { type GoldenNetwork, golden, images, ours, writeTorchWeights } from "./support/resnets.js";
import { expectGradients } from "./support/training.js";

const folder = temporaryFolders()();

/** A network with the golden weights. The file is removed at once, because some have a hundred megabytes. */
async function loaded(network: GoldenNetwork, device: Device): Promise<ResNet> {
  const file = writeTorchWeights(folder, network);
  const model = ours(network, device);
  await loadTorchWeights(model, file);
  rmSync(file);
  return model;
}

/** The outputs of the stem and of each stage. */
function stagesOf(model: ResNet, images: Tensor): Tensor[] {
  const stem = relu(model.stemNorm.forward(model.stem.forward(images)));
  const found = [model.stemPool ? model.stemPool.forward(stem) : stem];
  let done = 0;
  for (const count of model.stages) {
    const blocks = model.blocks.slice(done, done + count);
    found.push(blocks.reduce((x, block) => block.forward(x), found.at(-1)!));
    done += count;
  }
  return found;
}

// Up to 50 layers of float32, each accurate to 1e-7 of its values. Measured: below 1e-6 of the logits' norm for all
// networks. An error of shape or order, such as wrong statistics of a norm or a reversed axis of a convolution, changes
// the logits by at least 1e-2 of their norm (measured in PyTorch, tensor by tensor).
const outputTolerance = 1e-5;
// Gradients pass the layers twice, and batch norm subtracts nearly equal numbers. Measured: below 5e-6.
const gradientTolerance = 1e-4;

const networks = (which: (name: string) => boolean) =>
  golden.networks
    .filter(({ name }) => which(name))
    .map((network) => [`${network.name} with the stem ${network.stem}`, network] as const);
const isSmall = (name: string) => name === "resnet18" || name === "resnet20";

async function expectOutputs(network: GoldenNetwork, device: Device): Promise<void> {
  const model = (await loaded(network, device)).eval();
  expect(model.parameters().reduce((total, { size }) => total + size, 0)).toBe(network.parameters);
  for (const { shape, squares, every, logits } of network.results) {
    const stages = noGrad(() => tidy(() => stagesOf(model, images(device, shape)).map((x) => mean(square(x)))));
    expect(worstRatio(await Promise.all(stages.map((one) => one.item())), squares)).toBeLessThan(outputTolerance);
    const all = await noGrad(() => tidy(() => model.forward(images(device, shape)))).read();
    const some = all.filter((_, i) => i % every === 0);
    expect(relativeError(some, logits)).toBeLessThan(outputTolerance);
  }
  model.dispose();
}

await onEveryDevice(
  "the larger residual networks match PyTorch in float64",
  (device) => {
    test.each(networks((name) => !isSmall(name)))(
      "%s with PyTorch's weights has the same outputs in evaluation",
      (_, network) => expectOutputs(network, device),
    );
  },
  // The smaller networks cover the differences between instruction sets.
  physicalDevices.slice(-1),
);

await onEveryDevice(
  "residual networks match PyTorch in float64",
  (device) => {
    test.each(networks(isSmall))("%s with PyTorch's weights has the same outputs in evaluation", (_, network) =>
      expectOutputs(network, device),
    );

    test("resnet18 with the cifar stem has the same loss and gradients in training", async () => {
      const network = golden.networks.find(({ name, stem }) => name === "resnet18" && stem === "cifar")!;
      const model = await loaded(network, device);
      const { shape, loss: expected, gradients } = golden.training;
      const labels = tensor(device, labelsOf(shape[0]!, 2000, network.classes));
      const loss = crossEntropy(model.forward(images(device, shape)), labels);
      backward(loss);
      expect(worstRatio([await loss.item()], [expected])).toBeLessThan(outputTolerance);
      const { names } = model.torchNames();
      const parameters = new Map(model.parameters().map((parameter) => [names.get(parameter.name)!, parameter]));
      await expectGradients(parameters, gradients, gradientTolerance);
      model.dispose();
    });
  },
  physicalDevices,
);
