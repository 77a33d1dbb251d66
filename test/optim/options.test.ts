import { expect, test } from "vitest";
import { type ErrorCode, StepsizeError } from "#lib/errors.js";
import { openDevice } from "#lib/native/index.js";
import { Adam, AdamW, Lion, SGD, type Trainable } from "#lib/optim/index.js";
import { tensor } from "#lib/tensor/index.js";
import { onEveryDevice } from "../support/devices.js";
import { parameterOf, setGradient } from "./support/runs.js";

type Options = Record<string, unknown>;
type Rule = new (parameters: readonly Trainable[], options: never) => unknown;

/** Returns the error that a constructor throws. The caller checks that its message names the wrong argument. */
function refusal(Rule: Rule, parameters: readonly Trainable[], options: Options): StepsizeError {
  try {
    new Rule(parameters, options as never);
  } catch (error) {
    expect(error).toBeInstanceOf(StepsizeError);
    return error as StepsizeError;
  }
  return expect.fail(`${Rule.name} accepted ${JSON.stringify(options)}`);
}

const code: ErrorCode = "invalid-argument";
const notNumbers = [Number.NaN, Number.POSITIVE_INFINITY, "0.1", null];

const refused: [Rule, string, readonly unknown[]][] = [
  ...[SGD, Adam, AdamW, Lion].flatMap((Rule): [Rule, string, readonly unknown[]][] => [
    [Rule, "lr", [...notNumbers, undefined, -1e-9, {}]],
    [Rule, "weightDecay", [...notNumbers, -0.1]],
    [Rule, "clipNorm", [...notNumbers, 0, -1]],
    [Rule, "gradientScale", notNumbers],
    [Rule, "nonFinite", ["ignore", true, null]],
    [Rule, "zeroGradients", [0, 1, "yes", null]],
    [Rule, "masterWeights", [0, 1, "yes", null]],
    [Rule, "momentType", ["float64", "bf16", 16, true, null]],
    [Rule, "seed", [...notNumbers, -1, 0.5, 2 ** 53, 7n]],
  ]),
  [SGD, "momentum", [...notNumbers, -0.1]],
  [SGD, "dampening", notNumbers],
  ...[Adam, AdamW, Lion].map((Rule): [Rule, string, readonly unknown[]] => [
    Rule,
    "betas",
    [[1, 0.9], [0.9, 1], [-0.1, 0.9], [0.9, Number.NaN], [0.9], [0.9, 0.9, 0.9], 0.9, ["0.9", 0.9]],
  ]),
  ...[Adam, AdamW].map((Rule): [Rule, string, readonly unknown[]] => [Rule, "epsilon", [...notNumbers, -1e-8]]),
];

await onEveryDevice("an invalid option is refused and named:", (device) => {
  test.each(refused)("%o: %s", (Rule, name, values) => {
    const parameter = parameterOf(device, 1);
    for (const value of values) {
      const error = refusal(Rule, [parameter], { lr: 0.1, [name]: value });
      expect(error).toMatchObject({ code, message: expect.stringMatching(new RegExp(`^${name}: expected `)) });
    }
  });

  test("in a group", () => {
    const parameter = parameterOf(device, 1);
    const groups = [{ where: () => true, weightDecay: -1 }];
    expect(refusal(AdamW, [parameter], { lr: 0.1, groups }).message).toMatch(/^weightDecay: expected .*, got -1/);
  });

  test("nesterov without momentum, or with dampening", () => {
    const parameter = parameterOf(device, 1);
    for (const options of [{}, { momentum: 0 }, { momentum: 0.9, dampening: 0.1 }])
      expect(refusal(SGD, [parameter], { lr: 0.1, nesterov: true, ...options }).message).toMatch(/^nesterov: /);
  });

  test("but values at the limits of a range are accepted", () => {
    const parameter = parameterOf(device, 1);
    expect(() => new SGD([parameter], { lr: 0, momentum: 0, weightDecay: 0, dampening: 1 })).not.toThrow();
    expect(() => new Adam([parameter], { lr: 0, betas: [0, 0], epsilon: 0, weightDecay: 0 })).not.toThrow();
  });
});

await onEveryDevice("an unknown option is refused, and the nearest known one is suggested:", (device) => {
  const misspelt: [Rule, string, string][] = [
    [SGD, "learning_rate", "lr"],
    [SGD, "learningRate", "lr"],
    [SGD, "weight_decay", "weightDecay"],
    [SGD, "momentun", "momentum"],
    [Adam, "eps", "epsilon"],
    [Adam, "beta1", "betas"],
    [AdamW, "wd", "weightDecay"],
    [AdamW, "amsgard", "amsgrad"],
    [AdamW, "max_grad_norm", "clipNorm"],
    [AdamW, "nonfinite", "nonFinite"],
    [Lion, "clip_norm", "clipNorm"],
    [Lion, "group", "groups"],
  ];

  test.each(misspelt)("%o: %s", (Rule, given, meant) => {
    const error = refusal(Rule, [parameterOf(device, 1)], { lr: 0.1, [given]: 0.5 });
    const message = expect.stringMatching(
      new RegExp(`^${Rule.name}: expected only the options lr, .*\\(did you mean ${meant}\\?\\), got "${given}"$`),
    );
    expect(error).toMatchObject({ code, message });
  });

  test("in a group, which has fewer options", () => {
    const parameter = parameterOf(device, 1);
    const groups = [
      { where: () => false, lr: 1 },
      { where: () => true, weight_decay: 0 },
    ];
    const { message } = refusal(AdamW, [parameter], { lr: 0.1, groups });
    expect(message).toMatch(/^AdamW\.groups\[1\]: .*did you mean weightDecay\?\), got "weight_decay"$/);
    const forAll = [{ where: () => true, clipNorm: 1 }];
    expect(refusal(AdamW, [parameter], { lr: 0.1, groups: forAll }).message).toMatch(/^AdamW\.groups\[0\]: .*clipNorm/);
    const lionHasNone = [{ where: () => true, epsilon: 1 }];
    expect(refusal(Lion, [parameter], { lr: 0.1, groups: lionHasNone }).message).toMatch(/^Lion\.groups\[0\]: /);
  });

  test("in a step, which then changes nothing", async () => {
    const parameter = parameterOf(device, 1);
    const optimizer = new SGD([parameter], { lr: 1 });
    setGradient(parameter, Float32Array.of(1));
    const before = await parameter.read();
    expect(() => optimizer.step({ gradientscale: 2 } as never)).toThrow(/^step: .*did you mean gradientScale/);
    expect(await parameter.read()).toEqual(before);
    expect(optimizer.iteration).toBe(0);
  });

  test("but an unknown option with the value undefined is accepted", () => {
    expect(() => new SGD([parameterOf(device, 1)], { lr: 0.1, eps: undefined } as never)).not.toThrow();
  });

  test("options that are not an object", () => {
    for (const options of [undefined, null, 0.1, [0.1], "lr"])
      expect(refusal(SGD, [parameterOf(device, 1)], options as never).message).toMatch(/^SGD: expected an object with/);
    expect(refusal(SGD, [parameterOf(device, 1)], { lr: 1, groups: {} }).message).toMatch(/^SGD\.groups: /);
  });
});

await onEveryDevice("invalid parameters are refused:", (device) => {
  test("a parameter that never gets a gradient", () => {
    const frozen = parameterOf(device, 1, "backbone.weight");
    frozen.requiresGrad = false;
    const { message } = refusal(SGD, [parameterOf(device, 1), frozen], { lr: 0.1 });
    expect(message).toMatch(/^parameters\[1\] \(backbone\.weight\): has requiresGrad false.*filter/);
    expect(refusal(SGD, [tensor(device, [1])], { lr: 0.1 }).message).toMatch(
      /^parameters\[0\]: has requiresGrad false/,
    );
  });

  test("a computed tensor", () => {
    const leaf = parameterOf(device, 1);
    expect(refusal(SGD, [leaf, leaf.square()], { lr: 0.1 }).message).toMatch(
      /^parameters\[1\]: is the result of square/,
    );
    const kept = leaf.square().detach();
    kept.requiresGrad = true;
    expect(() => new SGD([leaf, kept], { lr: 0.1 })).not.toThrow();
  });

  test("but a parameter may be frozen and unfrozen after construction", async () => {
    const parameter = parameterOf(device, Float32Array.of(1));
    const optimizer = new SGD([parameter, parameterOf(device, 1)], { lr: 1 });
    parameter.requiresGrad = false;
    parameter.requiresGrad = true;
    setGradient(parameter, Float32Array.of(1));
    optimizer.step();
    expect([...(await parameter.read())]).toEqual([0]);
  });

  test("an empty list", () => {
    expect(refusal(SGD, [], { lr: 0.1 })).toMatchObject({
      code,
      message: expect.stringMatching(/^parameters: .*empty/),
    });
  });

  test("a duplicate, with its name and index", () => {
    const [a, b] = [parameterOf(device, 1, "a"), parameterOf(device, 1, "b")];
    expect(refusal(SGD, [a, b, a], { lr: 0.1 }).message).toMatch(/^parameters\[2\] \(a\): .*twice/);
  });

  test("a type other than float32 and bfloat16", () => {
    for (const data of [Int32Array.of(1), new Float64Array(1), Uint8Array.of(1)]) {
      const parameters = [tensor(device, [1]), tensor(device, data)];
      const message = refusal(SGD, parameters, { lr: 0.1 }).message;
      expect(message).toMatch(
        new RegExp(`^parameters\\[1\\]: expected float32 or bfloat16, got ${parameters[1]!.dtype}`),
      );
    }
  });

  test("a parameter on another device", async () => {
    const other = await openDevice("cpu");
    const parameters = [parameterOf(device, 1, "a"), parameterOf(other, 1, "b")];
    expect(refusal(SGD, parameters, { lr: 0.1 }).message).toMatch(/^parameters\[1\] \(b\): .*device/);
    await other.close();
  });

  test("a group that matches no parameter, probably because of a typing error in its condition", () => {
    const groups = [
      { where: (name: string) => name === "weight" },
      { where: (name: string) => name.endsWith(".bais"), lr: 1 },
    ];
    const parameters = [parameterOf(device, 1, "weight"), parameterOf(device, 1, "x.bias")];
    expect(refusal(AdamW, parameters, { lr: 0.1, groups }).message).toMatch(/^groups\[1\]\.where: chooses none of 2/);
  });

  test("and leave nothing allocated", () => {
    const parameter = parameterOf(device, 1);
    const before = device.memory().tensors;
    refusal(AdamW, [parameter], { lr: -1 });
    refusal(AdamW, [parameter], { lr: 1, clipNorm: -1 });
    expect(device.memory().tensors).toBe(before);
  });
});
