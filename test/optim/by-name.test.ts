import { describe, expect, test } from "vitest";
import { type NamedOptimizerOptions, optimizerNames, optimizersByName, takesMomentum } from "#lib/optim/by-name.js";
import { expectError } from "../support/errors.js";

describe.each(optimizerNames)("%s", (name) => {
  const { class: Class, rule, momentum, weightDecay, maxLr, torch } = optimizersByName[name];
  const make = (options: NamedOptimizerOptions) => new Class([new Float32Array([1, 2, 3])], options);

  test("is constructed with the defaults of a run, and changes the parameters", () => {
    const weights = new Float32Array([1, 2, 3]);
    const optimizer = new Class([weights], {
      lr: maxLr.images,
      weightDecay,
      ...(momentum !== undefined && { momentum }),
    });
    optimizer.step([new Float32Array([1, 1, 1])]);
    for (const [i, weight] of weights.entries()) expect(weight).toBeLessThan(i + 1);
    optimizer.dispose();
  });

  test("has the rule of its class, and PyTorch's name of it", () => {
    const optimizer = make({ lr: 0.1 });
    expect(optimizer.toJSON()).toMatchObject({ rule, ...(torch !== undefined && { optimizer: torch }) });
    optimizer.dispose();
  });

  test("accepts a momentum if the table has one, and otherwise refuses it", async () => {
    if (takesMomentum(name)) make({ lr: 0.1, momentum: 0.5 }).dispose();
    else await expectError(() => make({ lr: 0.1, momentum: 0.5 }), "invalid-argument", "momentum");
  });
});
