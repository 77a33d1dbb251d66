import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { goldenLosses } from "#lib/check/golden-losses.js";
import { worstRatio } from "#lib/check/trainings.js";

const golden = (name: string) =>
  JSON.parse(readFileSync(new URL(`../golden/${name}.json`, import.meta.url), "utf8")) as Record<string, unknown>;

test("the losses in the package are those of test/golden/ (node scripts/golden-losses.mjs)", () => {
  const { mlp, resnet8, olmo } = goldenLosses;
  expect(mlp).toEqual(golden("mlp"));
  for (const [part, whole] of [
    [resnet8, golden("resnet8")],
    [olmo, golden("olmo")],
  ] as const) {
    const { losses, ...more } = part;
    expect(losses).toEqual(whole["free"]);
    expect(whole).toMatchObject(more);
  }
});

test("a loss that is missing or not a number is infinitely wrong", () => {
  expect(worstRatio([1, 2.2], [1, 2])).toBeCloseTo(0.1, 12);
  expect(worstRatio([1], [1, 2])).toBe(Number.POSITIVE_INFINITY);
  expect(worstRatio([Number.NaN], [1])).toBe(Number.POSITIVE_INFINITY);
});
