import { AdamW, type Device, models, nn, openDevice, ops, SGD, type Tensor, tidy } from "stepsize";
import { type Contender, TorchPeer } from "#lib/bench/index.js";
import { compare, type Result } from "./harness.js";
import { torchContender } from "./peers/torch.js";

interface Case {
  readonly name: string;
  readonly items: number;
  readonly torchCases: readonly string[];
  readonly repeats: number;
  make(device: Device): { model: nn.Module; optimizer: AdamW | SGD; images: Tensor };
}

const momentum = { lr: 0.01, momentum: 0.9 };

const cases: readonly Case[] = [
  {
    name: "MLP 784-512-512-10",
    items: 128,
    torchCases: ["mlp"],
    repeats: 80,
    make: (device) => {
      const model = models.mlp({ inputs: 784, classes: 10, device });
      return {
        model,
        optimizer: new SGD(model.parameters(), momentum),
        images: ops.normal(device, [128, 784], { seed: 1 }),
      };
    },
  },
  {
    name: "CNN 3-32-64 on 32×32",
    items: 64,
    torchCases: ["cnn", "cnn-channels-last"],
    repeats: 12,
    make: (device) => {
      const model = new nn.Sequential(
        new nn.Conv2d(3, 32, { device, seeds: 1, padding: 1 }),
        new nn.ReLU(),
        new nn.Conv2d(32, 64, { device, seeds: 2, padding: 1, stride: 2 }),
        new nn.ReLU(),
        new nn.GlobalAveragePool(),
        new nn.Linear(64, 10, { device, seeds: 3 }),
      );
      const images = ops.normal(device, [64, 32, 32, 3], { seed: 1 });
      return { model, optimizer: new SGD(model.parameters(), momentum), images };
    },
  },
  {
    name: "resnet8 on 28×28",
    items: 128,
    torchCases: ["resnet8", "resnet8-channels-last"],
    repeats: 5,
    make: (device) => {
      const model = models.resnet({ depth: 8, classes: 10, channels: 1, device });
      const images = ops.normal(device, [128, 28, 28, 1], { seed: 1 });
      return { model, optimizer: new AdamW(model.parameters(), { lr: 1e-3 }), images };
    },
  },
];

/** Whole training steps (forward, backward, update), compared with PyTorch if it is installed. */
export async function step(threads: number): Promise<Result[]> {
  const device = await openDevice("cpu", { threads });
  const torch = TorchPeer.start(threads);
  const results: Result[] = [];
  for (const { name, items, torchCases, repeats, make } of cases) {
    const { model, optimizer, images } = make(device);
    const labels = ops.cast(ops.uniform(device, [items], { high: 10, seed: 2 }), "int32");
    const train = () =>
      tidy(() => {
        ops.crossEntropy(model.forward(images), labels).backward();
        optimizer.step();
        optimizer.zeroGrad();
      });
    const stepsize: Contender = {
      name: "stepsize",
      run: async () => {
        await device.synchronize();
        const begin = performance.now();
        for (let i = 0; i < repeats; i++) train();
        await device.synchronize();
        return (performance.now() - begin) / repeats;
      },
    };
    const peers = torch ? torchCases.map((what) => torchContender(torch, `PyTorch ${what}`, what, repeats)) : [];
    results.push(await compare({ name, threads, work: { amount: items, unit: "items/s" } }, [...peers, stepsize]));
  }
  await torch?.close();
  await device.close();
  return results;
}
