import { AdamW, type Device, openDevice, ops, type Tensor } from "stepsize";
import { type Contender, TorchPeer } from "#lib/bench/index.js";
import { baseline } from "./baseline.js";
import { compare, type Result } from "./harness.js";
import { torchContender } from "./peers/torch.js";

// Parameter, gradient and two moments are read, all but the gradient are written, four bytes each.
const bytesPerParameter = 28;

/**
 * AdamW over ten million parameters, in one tensor and in a hundred, compared with the memory traffic alone and with
 * PyTorch.
 */
export async function optimizer(threads: number): Promise<Result[]> {
  const device = await openDevice("cpu", { threads });
  const torch = TorchPeer.start(threads);
  const total = 10_000_000;
  const repeats = 30;
  const arrays = [1, 2, 3, 4].map(() => new Float32Array(total).fill(0.01)) as [
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  const traffic: Contender = { name: "traffic alone", run: () => baseline.adamwTraffic(...arrays, threads, repeats) };
  const adamw = (tensors: number): Contender => {
    const parameters = Array.from({ length: tensors }, () => ops.full(device, [total / tensors], 0.5));
    for (const parameter of parameters) {
      parameter.requiresGrad = true;
      parameter.grad = ops.full(device, [total / tensors], 0.01);
    }
    const made = new AdamW(parameters, { lr: 1e-3 });
    return {
      name: `stepsize ${tensors} × ${total / tensors / 1000}k`,
      run: async () => {
        await device.synchronize();
        const begin = performance.now();
        for (let i = 0; i < repeats; i++) made.step();
        await device.synchronize();
        return (performance.now() - begin) / repeats;
      },
    };
  };
  const contenders = [traffic, adamw(1), adamw(100)];
  if (torch)
    contenders.push(
      torchContender(torch, "PyTorch 1 × 10000k", "adamw-1x10M", 5),
      torchContender(torch, "PyTorch 100 × 100k", "adamw-100x100k", 5),
    );
  const about = {
    name: "AdamW, 10M parameters",
    threads,
    work: { amount: total * bytesPerParameter, unit: "GB/s" },
  } as const;
  const results = [await compare(about, contenders), await idle(device, threads)];
  await torch?.close();
  await device.close();
  return results;
}

/**
 * AdamW over two million parameters, half of which have had zero gradients for 3,000 steps, so that their moments have
 * decayed to zero. Compared with the same step at the beginning.
 */
async function idle(device: Device, threads: number): Promise<Result> {
  const size = 1_000_000;
  const repeats = 100;
  const contender = async (name: string, steps: number): Promise<Contender> => {
    const parameters = [0, 1].map(() => ops.full(device, [size], 0.5));
    const gradients = parameters.map(() => ops.full(device, [size], 0.01));
    for (const [i, parameter] of parameters.entries()) {
      parameter.requiresGrad = true;
      parameter.grad = gradients[i];
    }
    const made = new AdamW(parameters, { lr: 1e-3 });
    made.step();
    ops.fill(gradients[1] as Tensor, 0);
    for (let step = 0; step < steps; step++) made.step();
    return {
      name,
      run: async () => {
        await device.synchronize();
        const begin = performance.now();
        for (let i = 0; i < repeats; i++) made.step();
        await device.synchronize();
        return (performance.now() - begin) / repeats;
      },
    };
  };
  const contenders = [await contender("at the beginning", 0), await contender("stepsize after 3,000 steps", 3000)];
  const work = { amount: 2 * size * bytesPerParameter, unit: "GB/s" } as const;
  return compare({ name: "AdamW, 2M parameters, half of them idle", threads, work }, contenders);
}
