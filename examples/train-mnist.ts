// Trains a small residual network on a part of MNIST for a fixed number of steps. The saved file contains everything
// needed to use the network, for example with `npx stepsize predict`. `npm start` trains on all of MNIST.
//
//   npx tsx examples/train-mnist.ts
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AdamW, data, models, nn, openDevice, schedule, Trainer } from "stepsize";

const budget = 100;
const firstImages = (count: number) => Array.from({ length: count }, (_, i) => i);

const device = await openDevice("auto");
const { train, validation } = (await data.mnist({ split: "train" }))
  .subset(firstImages(10_000))
  .split({ validation: 0.05, seed: 0 });
const test = (await data.mnist({ split: "test" })).subset(firstImages(500));

const config = { kind: "resnet", depth: 8, width: 8, classes: 10, channels: 1 } as const;
const model = models.create(config, { device, seed: 0 });

const lr = schedule.uba({ budget, maxLr: 0.02, phi: 2, warmup: 10 });
// Weights decay. Biases and the scales of norms do not.
const noDecay = { where: (name: string) => !name.endsWith("weight"), weightDecay: 0 };
const optimizer = new AdamW(model.parameters(), { lr, weightDecay: 0.01, groups: [noDecay] });

const trainer = new Trainer({
  model,
  optimizer,
  loss: nn.crossEntropy,
  data: train.batches({ size: 64, seed: 0 }),
  card: {
    config,
    preprocessing: train.preprocessing(),
    classes: train.classes,
  },
});

const folder = await mkdtemp(join(tmpdir(), "stepsize-mnist-"));
const path = join(folder, "model.safetensors");

// Evaluates after every 25 steps and keeps the best checkpoint.
const evaluateEvery = { steps: 25, data: validation.batches({ size: 125 }), best: path };
for await (const { step, loss, learningRate, evaluation } of trainer.run({ evaluateEvery })) {
  if (step % 20 === 0 || step === budget - 1)
    console.log(`step ${step} of ${budget}: loss ${loss.toFixed(3)}, learning rate ${learningRate.toExponential(2)}`);
  if (evaluation) console.log(`after ${step + 1} steps: loss ${evaluation.loss.toFixed(3)} on held back images`);
}

await trainer.load(path);
const { accuracy = 0, items } = await trainer.evaluate(test.batches({ size: 125 }));
console.log(`accuracy on ${items} test images: ${(100 * accuracy).toFixed(1)} %`);
console.log(`saved as ${path}`);
