import { StepsizeError } from "../errors.js";
import type { Tensor } from "../tensor/index.js";

const nameOf = new Map([
  ["momentum_buffer", "momentumBuffer"],
  ["exp_avg", "expAvg"],
  ["exp_avg_sq", "expAvgSq"],
  ["max_exp_avg_sq", "maxExpAvgSq"],
]);

/** The state of a PyTorch optimizer under our names, and the number of steps that it has made. */
export async function fromTorch(state: ReadonlyMap<string, Tensor>, given: number | undefined) {
  const tensors = new Map<string, Tensor>();
  const steps = new Map<string, number>();
  const unknown: string[] = [];
  for (const [path, tensor] of state) {
    const dot = path.lastIndexOf(".");
    const [parameter, last] = [path.slice(0, dot), path.slice(dot + 1)];
    const name = nameOf.get(last);
    if (dot < 1 || (name === undefined && last !== "step")) unknown.push(path);
    else if (name === undefined) steps.set(parameter, await tensor.item());
    else tensors.set(`${parameter}.${name}`, tensor);
  }
  const fail = (problem: string): never => {
    throw new StepsizeError("invalid-file", `the state is not that of a PyTorch optimizer: ${problem}`);
  };
  if (unknown.length > 0) {
    const names = [...nameOf.keys(), "step"].map((name) => `<parameter>.${name}`).join(", ");
    fail(`expected ${names}, found ${unknown.slice(0, 3).join(", ")}`);
  }
  const counts = [...new Set(given === undefined ? steps.values() : [given])];
  if (counts.length > 1) fail(`its parameters made different numbers of steps: ${counts.slice(0, 5).join(", ")}`);
  const [made] = counts;
  if (made === undefined) fail("it has no step; say how many steps were made");
  if (!Number.isSafeInteger(made) || (made as number) < 0) fail(`step is ${made}`);
  return { tensors, made: made as number };
}
