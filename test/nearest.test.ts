import { describe, expect, test } from "vitest";
import { nearest, suggestion, suggestionInside } from "#lib/nearest.js";

const words = ["budget", "batch", "maxLr", "weightDecay", "path"];

describe("the nearest word", () => {
  test.each([
    ["budget", "budget"],
    ["budgets", "budget"],
    ["budgte", "budget"],
    ["bugdet", "budget"],
    ["MAX-LR", "maxLr"],
    ["weight_decai", "weightDecay"],
    ["paht", "path"],
    ["batc", "batch"],
  ])("to %s is %s", (typed, word) => {
    expect(nearest(typed, words)).toBe(word);
    expect(suggestion(typed, words)).toBe(`; did you mean ${word}?`);
    expect(suggestionInside(typed, words)).toBe(` (did you mean ${word}?)`);
  });

  test.each([[""], ["x"], ["momentum"], ["pa"], ["lr-scheduler"], ["b".repeat(10_000)]])(
    "to %s is none, because too many letters differ",
    (typed) => {
      expect(nearest(typed, words)).toBeUndefined();
      expect(suggestion(typed, words)).toBe("");
    },
  );

  test("is none if there are no words, or if what was given is no text", () => {
    expect(nearest("budget", [])).toBeUndefined();
    for (const given of [3, null, undefined, {}]) expect(suggestion(given, words)).toBe("");
  });
});
