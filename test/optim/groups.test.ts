// Groups of parameters: chosen by a predicate, or given as lists as in PyTorch.
import { expect, it } from "vitest";
import { openDevice } from "#lib/native/index.js";
import { AdamW, Lion, type ParameterLike, SGD } from "#lib/optim/index.js";
import { bits } from "../support/compare.js";
import { expectError } from "../support/errors.js";

const start = () => [Float32Array.of(1, -2, 3), Float32Array.of(0.5, 4), Float32Array.of(-1)];
const gradients = [Float32Array.of(0.1, 0.2, -0.3), Float32Array.of(-0.4, 0.5), Float32Array.of(0.6)];

/** The bits of all parameters after three steps. */
function afterSteps(make: (parameters: Float32Array[]) => { step: (gradients: Float32Array[]) => void }) {
  const parameters = start();
  const optimizer = make(parameters);
  for (let step = 0; step < 3; step++) optimizer.step(gradients);
  return parameters.map(bits);
}

it.each([
  ["SGD", SGD],
  ["AdamW", AdamW],
  ["Lion", Lion],
] as const)(
  "%s accepts lists of parameters with options, and gives the bits of the same groups by predicate",
  (_, Optimizer) => {
    const shared = { lr: 0.01, weightDecay: 0.1 };
    const groupOptions = { lr: (step: number) => 0.1 / (step + 1), weightDecay: 0 };
    const withLists = afterSteps(
      ([a, b, c]) => new Optimizer([{ params: [a!] }, { params: [b!, c!], ...groupOptions }], shared),
    );
    const withPredicate = afterSteps(
      (parameters) =>
        new Optimizer(parameters, { ...shared, groups: [{ where: (name) => name !== "0", ...groupOptions }] }),
    );
    const withoutGroups = afterSteps((parameters) => new Optimizer(parameters, shared));
    expect(withLists).toEqual(withPredicate);
    expect(withLists[0]).toEqual(withoutGroups[0]);
    expect(withLists[1]).not.toEqual(withoutGroups[1]);
  },
);

it("groups keep the order of the lists, and an undefined option means the shared one", () => {
  const [a, b, c] = start();
  const optimizer = new AdamW(
    [
      { params: [c!], lr: 3 },
      { params: [a!, b!], lr: undefined as never },
    ],
    { lr: 1 },
  );
  expect(optimizer.learningRates()).toEqual([3, 1]);
  expect(() => optimizer.step([gradients[2]!, gradients[0]!, gradients[1]!])).not.toThrow();
});

it.each<[string, (one: Float32Array, other: Float32Array) => unknown, string]>([
  [
    "an empty list",
    (one) => [{ params: [one] }, { params: [] }],
    "parameters[1].params: expected an array of at least one",
  ],
  ["a value that is not a list", (one) => [{ params: one }], "parameters[0].params: expected an array of at least one"],
  ["a parameter beside lists", (one, other) => [{ params: [one] }, other], "parameters[1]: expected"],
  [
    "an unknown option",
    (one) => [{ params: [one], learningRate: 1 }],
    "parameters[0]: expected only the options params, lr, betas",
  ],
  [
    "an option of all parameters",
    (one) => [{ params: [one], clipNorm: 1 }],
    "parameters[0]: expected only the options params, lr, betas",
  ],
  ["a parameter twice", (one) => [{ params: [one] }, { params: [one] }], "this array was given twice"],
])("%s is refused", async (_, make, words) => {
  const [one, other] = start();
  const given = make(one!, other!) as ParameterLike[];
  await expectError(() => new AdamW(given, { lr: 1 }), "invalid-argument", words);
});

it("lists and predicates together are refused", async () => {
  const device = await openDevice("cpu", { threads: 1 });
  const [one] = start();
  const groups = [{ where: () => true }];
  await expectError(
    () => new SGD([{ params: [one!] }], { lr: 1, groups, device }),
    "invalid-argument",
    "groups: expected no groups",
  );
  await device.close();
});
