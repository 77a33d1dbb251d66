import { allocate } from "../allocate.js";
import type { HostTensor } from "../files/safetensors.js";
import { itemAt } from "../lookup.js";
import type { LearningRate, Optimizer } from "../optim/index.js";
import { isCustom } from "../optim/options.js";

type AnyOptimizer = Optimizer<{ lr: LearningRate }>;

/**
 * Returns the values of learning rates that are custom functions, as a checkpoint stores them: by the index of their
 * parameter group, one row per step. The momentum, if there is one, is in a second column.
 *
 * @param budget number of steps
 * @throws StepsizeError `out-of-memory`
 */
export function customRates({ groups }: AnyOptimizer, budget: number): Map<string, HostTensor> {
  const rates = new Map<string, HostTensor>();
  for (const [g, { options }] of groups.entries()) {
    const { lr } = options;
    if (typeof lr === "number" || !isCustom(lr)) continue;
    const functions = lr.momentum ? [lr, lr.momentum] : [lr];
    const data = allocate("learning rates of all steps", () => new Float64Array(budget * functions.length));
    for (let step = 0; step < budget; step++)
      for (const [i, value] of functions.entries()) data[step * functions.length + i] = value(step);
    rates.set(String(g), { dtype: "float64", shape: [budget, functions.length], data });
  }
  return rates;
}

/**
 * Returns, in words, the first difference between saved learning rates and those of this run, for each group. Empty if
 * there is none.
 */
export function differencesOfRates(
  saved: ReadonlyMap<string, HostTensor>,
  present: ReadonlyMap<string, HostTensor>,
): string[] {
  return [...present].flatMap(([group, { data, shape }]) => {
    const before = saved.get(group);
    const columns = itemAt(shape, 1);
    const name = `the learning rate of group ${group}, a function,`;
    if (!before || before.shape[1] !== columns) return [`${name} was another kind of function`];
    // Only steps that both have are compared, because a run may be extended.
    const common = Math.min(before.data.length, data.length);
    for (let i = 0; i < common; i++) {
      const [was, is] = [before.data[i], data[i]];
      const what = i % columns === 0 ? "" : " momentum";
      if (!Object.is(was, is))
        return [`${name} gave${what} ${was} at step ${Math.floor(i / columns)}, now it gives ${is}`];
    }
    return [];
  });
}
