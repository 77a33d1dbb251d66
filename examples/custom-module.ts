// A custom model, operation and loss. Fits y = 3·sin(2x) although a tenth of the targets are outliers.
//
//   npx tsx examples/custom-module.ts
import {
  AdamW,
  type Device,
  data,
  nn,
  noGrad,
  openDevice,
  ops,
  schedule,
  type Tensor,
  Trainer,
  tensor,
  withGradient,
} from "stepsize";

/**
 * x·sigmoid(x), also known as swish. As `ops.multiply(x, ops.sigmoid(x))` it would have its gradient automatically.
 * With a custom gradient it keeps only its input until `backward()`.
 */
function swish(x: Tensor): Tensor {
  const output = noGrad(() => ops.multiply(x, ops.sigmoid(x)));
  return withGradient(output, [x], {
    saves: [x],
    // d/dx = s + x·s·(1 − s) with s = sigmoid(x), times the incoming gradient.
    gradient: (above) => {
      const s = ops.sigmoid(x);
      const slope = s.add(x.multiply(s).multiply(s.negate().add(1)));
      return [ops.multiply(above, slope)];
    },
  });
}

/** Two layers followed by a learned scale. Modules and parameters in properties are found, trained and saved. */
class Curve extends nn.Module {
  readonly first: nn.Linear;
  readonly second: nn.Linear;
  readonly scale: nn.Parameter;

  constructor(width: number, device: Device, seed: number) {
    super();
    const place = { device, seeds: new nn.Seeds(seed) };
    this.first = new nn.Linear(1, width, place);
    this.second = new nn.Linear(width, 1, place);
    this.scale = new nn.Parameter(ops.ones(device, [1]));
  }

  forward(x: Tensor): Tensor {
    return this.second.forward(swish(this.first.forward(x))).multiply(this.scale);
  }
}

/** log cosh of the error. It is quadratic near 0 and linear far away, so that outliers have less influence. */
const logCosh: nn.Loss = (outputs, targets) => {
  const error = ops.subtract(outputs, targets);
  // log(eᵉ + e⁻ᵉ) without overflow: |e| + log(1 + e^(−2|e|)), where |e| = relu(e) + relu(−e).
  const size = ops.add(ops.relu(error), ops.relu(ops.negate(error)));
  return ops.mean(ops.add(size, ops.log(ops.add(ops.exp(ops.multiply(size, -2)), 1))));
};

const truth = (x: number) => 3 * Math.sin(2 * x);
const xs = Float32Array.from({ length: 512 }, (_, i) => i / 128 - 2);
const ys = xs.map((x, i) => (i % 10 === 3 ? 20 : truth(x)));

const device = await openDevice("auto");
const model = new Curve(48, device, 0);
console.log(`parameters: ${[...model.namedParameters().keys()].join(", ")}`);

const lr = schedule.uba({ budget: 600, maxLr: 0.03, warmup: 20 });
const trainer = new Trainer({
  model,
  optimizer: new AdamW(model.parameters(), { lr, weightDecay: 0 }),
  loss: logCosh,
  data: data.fromArrays({ inputs: xs, labels: { data: ys, shape: [1] }, shape: [1] }).batches({ size: 128 }),
});
for await (const { step, loss } of trainer.run())
  if (step % 100 === 99) console.log(`step ${step + 1}: loss ${loss.toFixed(3)}`);

model.eval();
const probes = [-1.5, -0.8, 0, 0.8, 1.5];
const found = await noGrad(() =>
  model.forward(
    tensor(
      device,
      probes.map((x) => [x]),
    ),
  ),
).read();
let worst = 0;
probes.forEach((x, i) => {
  const y = found[i] as number;
  worst = Math.max(worst, Math.abs(y - truth(x)));
  console.log(`x = ${x.toFixed(1).padStart(4)}: ${y.toFixed(2)}, without outliers ${truth(x).toFixed(2)}`);
});
console.log(`largest error: ${worst.toFixed(2)}`);
