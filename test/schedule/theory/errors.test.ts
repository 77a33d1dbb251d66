import { describe, expect, test } from "vitest";
import { StepsizeError } from "#lib/errors.js";
import { constant } from "#lib/schedule/index.js";
import * as theory from "#lib/schedule/theory/index.js";

/** The error that a call throws. */
function thrown(call: () => unknown): StepsizeError {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(StepsizeError);
    return error as StepsizeError;
  }
  throw new Error("nothing was thrown");
}

const good = { curvature: [1, 10], budget: 4, maxLr: 0.5, minLr: 0.01 };

const questions = { minimax: theory.minimax, suggest: theory.suggest };

describe.each(["minimax", "suggest"] as const)("%s", (name) => {
  test.each([
    [{ curvature: [0, 1] }, "curvature[0]: expected a finite number above 0, got 0"],
    [{ curvature: [-1, 1] }, "curvature[0]: expected a finite number above 0, got -1"],
    [{ curvature: [2, 1] }, "curvature[0]: expected at most the highest, which is 1, got 2"],
    [{ curvature: [1, Number.NaN] }, "curvature[1]: expected a finite number above 0, got NaN"],
    [{ curvature: [1, Number.POSITIVE_INFINITY] }, "curvature[1]: expected a finite number above 0, got Infinity"],
    [{ curvature: ["1", 2] }, 'curvature[0]: expected a finite number above 0, got "1"'],
    [{ curvature: [1] }, "curvature: expected [lowest, highest], two curvatures above 0, got [1]"],
    [{ curvature: 3 }, "curvature: expected [lowest, highest], two curvatures above 0, got 3"],
    [{ budget: 0 }, "budget: expected an integer of at least 1, got 0"],
    [{ budget: 2.5 }, "budget: expected an integer of at least 1, got 2.5"],
    [{ budget: Number.NaN }, "budget: expected an integer of at least 1, got NaN"],
    [{ maxLr: 0 }, "maxLr: expected a finite number above 0, got 0"],
    [{ maxLr: Number.NaN }, "maxLr: expected a finite number above 0, got NaN"],
    [{ minLr: -1 }, "minLr: expected a finite number of at least 0, got -1"],
    [{ minLr: 0.6 }, "minLr: expected at most maxLr, which is 0.5, got 0.6"],
  ])("refuses %o", (change, message) => {
    const { code, message: text } = thrown(() => questions[name]({ ...good, ...change } as never));
    expect(text).toBe(`${name}.${message}`);
    expect(code).toBe("invalid-argument");
  });

  test("refuses missing and unknown options, and values that are not objects", () => {
    const { budget, ...rest } = good;
    expect(thrown(() => questions[name](rest as never)).message).toMatch(`${name}.budget: expected steps of the run`);
    const misspelt = { ...good, maxLR: 1 };
    expect(thrown(() => questions[name](misspelt as never)).message).toMatch(/did you mean maxLr\?/);
    for (const wrong of [undefined, null, 3, [1, 10]]) {
      expect(thrown(() => questions[name](wrong as never)).message).toMatch(
        `${name}: expected an object with the options`,
      );
    }
    expect(budget).toBe(4);
  });
});

test("steps and ranges are checked in every function", () => {
  const steps = constant({ budget: 3, maxLr: 1 });
  for (const call of [
    (given: unknown) => theory.contraction(given as never, 1),
    (given: unknown) => theory.worstCase(given as never, [1, 2]),
    (given: unknown) => theory.roundingGrowth(given as never, [1, 2]),
    (given: unknown) => theory.decreasing(given as never),
    (given: unknown) => theory.lebedevFinogenov(given as never),
    (given: unknown) => theory.leja(given as never),
  ]) {
    expect(thrown(() => call(3)).message).toBe("steps: expected a schedule or an array of learning rates, got 3");
    expect(thrown(() => call(null)).message).toMatch(/^steps: /);
    expect(thrown(() => call([1, -1])).message).toBe("steps[1]: expected a finite learning rate of at least 0, got -1");
    expect(thrown(() => call([Number.NaN])).message).toMatch(/^steps\[0\]: .*got NaN$/);
    expect(thrown(() => call([1, Number.POSITIVE_INFINITY])).message).toMatch(/^steps\[1\]: /);
  }
  for (const call of [theory.worstCase, theory.roundingGrowth]) {
    expect(thrown(() => call(steps, [0, 1])).message).toBe("range[0]: expected a finite number above 0, got 0");
    expect(thrown(() => call(steps, [2, 1])).message).toMatch(/^range\[0\]: expected at most the highest/);
    expect(thrown(() => call(steps, 1 as never)).message).toMatch(/^range: expected \[lowest, highest\]/);
  }
  for (const curvature of [Number.NaN, Number.POSITIVE_INFINITY, "1"]) {
    expect(thrown(() => theory.contraction(steps, curvature as never)).message).toMatch(
      /^curvature: expected a finite number, got/,
    );
  }
});

test("a problem that rounding makes unsolvable throws", () => {
  // Two curvatures that differ in the last digit. No zero fits between them.
  const next = 1 + Number.EPSILON;
  const error = thrown(() => theory.minimax({ curvature: [1, next], budget: 8 }));
  expect(error.code).toBe("unsupported");
  expect(error.message).toMatch(/^minimax: rounding leaves log-heights unsure by .* too close together/);
  // A zero fits if they are a hundred million times further apart.
  expect(theory.minimax({ curvature: [1, 1 + 1e-8], budget: 8 }).value).toBeLessThan(-100);
});
