import { describe, expect, test } from "vitest";
import { confidenceOf, pairedDifference, summarise, verdictOn } from "#lib/study/statistics.js";
import { studentT } from "#lib/study/student-t.js";

describe("Student's t", () => {
  // scipy 1.17: stats.t.ppf(1 - (1 - confidence) / 2, degrees). Printed tables have them to three digits.
  test.each([
    [0.95, 1, 12.706204736174694],
    [0.95, 2, 4.302652729749462],
    [0.95, 4, 2.7764451051977934],
    [0.95, 9, 2.262157162798205],
    [0.99, 4, 4.604094871349992],
    [0.95, 30, 2.0422724563012378],
    [1 - 0.05 / 6, 4, 4.851008443097864],
    [1 - 0.05 / 6, 2, 10.885866619163108],
    [1 - 0.05 / 6, 9, 3.364203432439991],
    [0.5, 3, 0.7648923284043444],
    [0.999, 7, 5.407882520861828],
    [0.95, 120, 1.9799304050824402],
  ])("at %d with %i degrees of freedom is %d", (confidence, degrees, expected) => {
    expect(studentT(confidence, degrees) / expected).toBeCloseTo(1, 11);
  });

  test.each([0.1, 0.5, 0.9, 0.999])(
    "agrees with the closed forms for 1 and 2 degrees of freedom at %d",
    (confidence) => {
      expect(studentT(confidence, 1) / Math.tan((Math.PI / 2) * confidence)).toBeCloseTo(1, 11);
      expect(studentT(confidence, 2) / Math.sqrt((2 * confidence ** 2) / (1 - confidence ** 2))).toBeCloseTo(1, 11);
    },
  );
});

describe("summaries", () => {
  test("have the mean and the standard deviation of a sample", () => {
    expect(summarise([2, 4, 4, 4, 5, 5, 7, 9])).toEqual({ n: 8, mean: 5, sd: Math.sqrt(32 / 7) });
  });

  test("of one value have no deviation", () => {
    expect(summarise([3])).toEqual({ n: 1, mean: 3 });
  });
});

describe("paired differences", () => {
  const a = [0.62, 0.65, 0.61, 0.66, 0.64];
  const b = [0.6, 0.66, 0.6, 0.63, 0.61];

  test("have the interval that scipy gives, at 95 % and corrected for six comparisons", () => {
    const plain = pairedDifference(a, b, 0.95);
    expect(plain.mean).toBeCloseTo(0.016, 14);
    expect(plain.sd).toBeCloseTo(0.016733200530681527, 14);
    expect(plain.low).toBeCloseTo(-0.004777012673671359, 12);
    expect(plain.high).toBeCloseTo(0.03677701267367139, 12);
    const corrected = pairedDifference(a, b, confidenceOf(6));
    expect(corrected.low).toBeCloseTo(-0.02030162314883978, 12);
    expect(corrected.high).toBeCloseTo(0.05230162314883981, 12);
  });

  test("go by pairs: a common part of both sides does not widen the interval", () => {
    const luck = [0, 10, -7, 3, 100];
    const shifted = (values: number[]) => values.map((value, i) => value + (luck[i] as number));
    expect(pairedDifference(shifted(a), shifted(b), 0.95).high).toBeCloseTo(0.03677701267367139, 10);
  });

  test.each([1, 2])("of %i pairs have no interval", (n) => {
    const difference = pairedDifference(a.slice(0, n), b.slice(0, n), 0.95);
    expect(difference.mean).toBeTypeOf("number");
    expect(difference).not.toHaveProperty("low");
    expect(difference).not.toHaveProperty("high");
  });

  test("without comparisons or with one are not corrected", () => {
    expect([confidenceOf(0), confidenceOf(1), confidenceOf(2)]).toEqual([0.95, 0.95, 0.975]);
  });
});

describe("verdicts", () => {
  const on = (low: number, high: number, margin?: number, higherIsBetter = true) =>
    verdictOn({ n: 5, mean: (low + high) / 2, low, high }, { higherIsBetter, margin });

  test("an interval that contains 0 distinguishes nothing, and is no tie", () => {
    expect(on(-0.02, 0.01)).toBe("not distinguished");
    expect(on(0, 0.01)).toBe("not distinguished");
    expect(on(-0.02, 0.01, 0.015)).toBe("not distinguished");
  });

  test("a tie lies wholly within the margin, also where 0 is outside the interval", () => {
    expect(on(-0.004, 0.005, 0.005)).toBe("tie");
    expect(on(0.001, 0.004, 0.005)).toBe("tie");
    expect(on(0.001, 0.006, 0.005)).toBe("better");
    expect(on(-0.006, 0.001, 0.005)).toBe("not distinguished");
  });

  test("without a margin there are no ties", () => {
    expect(on(-1e-9, 1e-9)).toBe("not distinguished");
  });

  test("which side is better depends on the measure", () => {
    expect([on(0.01, 0.02), on(-0.02, -0.01)]).toEqual(["better", "worse"]);
    expect([on(0.01, 0.02, undefined, false), on(-0.02, -0.01, undefined, false)]).toEqual(["worse", "better"]);
  });

  test("without an interval there is none", () => {
    expect(verdictOn({ n: 2, mean: 5, sd: 1 }, { higherIsBetter: true, margin: 100 })).toBe("no interval");
  });
});
