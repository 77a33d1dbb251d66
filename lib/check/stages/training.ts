// Stage 5: training steps of whole models give PyTorch's losses, and twice the same bits.
import type { Device } from "../../native/index.js";
import { compareNamed, type NamedResults, readNamed } from "../compare.js";
import type { Finding } from "../report.js";
import type { CaseContext, Stage } from "../stage.js";
import { type Training, trainedLosses, trainings, worstRatio } from "../trainings.js";

/** Trains and returns the losses and the bits of all weights. */
async function train(device: Device, training: Training): Promise<{ losses: number[]; weights: NamedResults }> {
  const trained = training.start(device);
  const losses = await trainedLosses(trained, training.losses.length);
  const weights: NamedResults = new Map();
  const tensors = [...trained.model.stateDict()];
  await readNamed(weights, tensors);
  trained.optimizer.dispose();
  for (const [, tensor] of tensors) tensor.dispose();
  return { losses, weights };
}

async function checkTraining({ device }: CaseContext, training: Training): Promise<Finding> {
  const { tolerance, losses: golden } = training;
  const [first, second] = [await train(device, training), await train(device, training)];
  const error = worstRatio(first.losses, golden) / tolerance;
  const measured = { losses: first.losses };
  const wrong = first.losses.findIndex((loss, i) => !(worstRatio([loss], golden.slice(i, i + 1)) <= tolerance));
  if (wrong >= 0) {
    const message = `the loss of step ${wrong} is ${first.losses[wrong]} instead of ${golden[wrong]}`;
    return { fault: "wrong", ...(Number.isFinite(error) && { error }), message, measured };
  }
  const { fault, message } = compareNamed(second.weights, first.weights);
  if (fault) return { fault: "unstable", message: `in a second training: ${message}`, measured };
  return { error, measured };
}

/** Training steps against golden losses. */
export const trainingStage: Stage = {
  name: "training",
  title: "20 training steps of an MLP, a ResNet-8 and an OLMo decoder, against PyTorch's losses",
  groups: () =>
    trainings.map((training) => ({
      name: training.name,
      cases: [{ name: "losses and bits", run: (context) => checkTraining(context, training) }],
      limit: 240,
    })),
};
