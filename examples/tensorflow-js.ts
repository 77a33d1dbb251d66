// Trains a TensorFlow.js model with this package's AdamW on a UBA schedule. TensorFlow.js computes the gradients, and
// the optimizer updates caller-owned arrays. First, the example shows that the results agree with the Adam of
// TensorFlow.js.
//
//   npx tsx examples/tensorflow-js.ts
import { createRequire } from "node:module";
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-cpu";
import { type AdamOptions, AdamW, schedule } from "stepsize";

// tfjs-core has its gradients in a separate file for bundlers, which tsx can load too. In plain Node, the package
// `@tensorflow/tfjs` includes them.
createRequire(import.meta.url)("@tensorflow/tfjs-core/dist/register_all_gradients");
// Without this the backend recommends another one on stderr.
tf.enableProdMode();
await tf.setBackend("cpu");

const width = 32;
const xs = tf.tensor(
  Float32Array.from({ length: 128 }, (_, i) => i / 32 - 2),
  [128, 1],
);
const ys = tf.mul(3, tf.sin(tf.mul(2, xs)));

/** Weights and biases of two layers. They are the same in every call. */
function makeVariables(): tf.Variable[] {
  const hashed = (shape: number[], salt: number) =>
    tf.tensor(
      Float32Array.from({ length: width }, (_, i) => Math.sin(salt * (i + 1))),
      shape,
    );
  return [hashed([1, width], 12.9), hashed([width], 7.3), hashed([width, 1], 78.2), tf.zeros([1])].map((initial) =>
    tf.variable(initial),
  );
}

/** The mean squared error of y = tanh(x·W₁ + b₁)·W₂ + b₂. */
function lossOf([w1, b1, w2, b2]: tf.Variable[]): tf.Scalar {
  const hidden = tf.tanh(tf.add(tf.matMul(xs, w1!), b1!));
  return tf.losses.meanSquaredError(ys, tf.add(tf.matMul(hidden, w2!), b2!));
}

/** Trains from the initial weights and returns the loss before every step. */
function trainWithStepsize(steps: number, options: AdamOptions): number[] {
  const variables = makeVariables();
  // The parameters. The optimizer keeps these arrays and updates them in place, without a copy.
  const values = variables.map((variable) => Float32Array.from(variable.dataSync()));
  const optimizer = new AdamW(values, options);
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    tf.tidy(() => {
      const { value, grads } = tf.variableGrads(() => lossOf(variables), variables);
      losses.push(value.dataSync()[0]!);
      optimizer.step(variables.map(({ name }) => grads[name]!.dataSync() as Float32Array));
      // Whether a tensor copies the array that it is created from depends on the backend. This one keeps the array, so
      // after the first assignment a step changes the variable's memory directly. WebGL and WebAssembly copy the array.
      // TensorFlow.js guarantees neither. Assigning after every step is correct for all backends, and copies nothing
      // here.
      variables.forEach((variable, i) => {
        variable.assign(tf.tensor(values[i]!, variable.shape));
      });
    });
  }
  optimizer.dispose();
  tf.dispose(variables);
  return losses;
}

function trainWithTfjs(steps: number, optimizer: tf.Optimizer): number[] {
  const variables = makeVariables();
  const losses = Array.from({ length: steps }, () =>
    tf.tidy(() => optimizer.minimize(() => lossOf(variables), true, variables)!.dataSync()[0]!),
  );
  optimizer.dispose();
  tf.dispose(variables);
  return losses;
}

// Both rules are lr·m̂ / (√v̂ + ε) with the corrected moments m̂ and v̂, so they agree for equal ε and no decay. This ε
// is larger than in practice (the default of TensorFlow.js is 1e-7, ours 1e-8), so that its place in the formula
// matters.
const rate = 0.02;
const epsilon = 1e-3;
const tfjsLosses = trainWithTfjs(50, tf.train.adam(rate, 0.9, 0.999, epsilon));
const stepsizeLosses = trainWithStepsize(50, { lr: rate, betas: [0.9, 0.999], epsilon, weightDecay: 0 });
console.log("constant rate, no decay:");
for (const step of [0, 10, 20, 30, 40, 49])
  console.log(
    `  step ${step}: loss ${tfjsLosses[step]!.toPrecision(8)} with tfjs's Adam, ${stepsizeLosses[step]!.toPrecision(8)} here`,
  );
const differences = stepsizeLosses.map((loss, step) => Math.abs(loss / tfjsLosses[step]! - 1));
console.log(`  largest relative difference over 50 steps: ${Math.max(...differences).toExponential(1)}`);

const budget = 500;
const lr = schedule.uba({ budget, maxLr: 0.05, phi: 2, warmup: 20 });
const losses = trainWithStepsize(budget, { lr, weightDecay: 1e-4 });
console.log(`AdamW with UBA, ${budget} steps:`);
for (const step of [0, 100, 200, 300, 400, budget - 1])
  console.log(`  step ${step}: loss ${losses[step]!.toFixed(5)}, learning rate ${lr(step).toExponential(2)}`);
