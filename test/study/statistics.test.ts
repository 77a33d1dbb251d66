import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { confidenceOf, holm, pairedDifference, summarize, verdictOn } from "#lib/study/statistics.js";
import { studentT, twoSidedP } from "#lib/study/student-t.js";

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

describe("the probability of a larger |t|", () => {
  // R's help of pt and printed tables: 2.776 and 4 degrees are 5 %.
  test.each([0.1, 0.5, 0.9, 0.95, 0.999])("is 1 minus the confidence at the quantile of %d", (confidence) => {
    for (const degrees of [1, 2, 3, 4, 5, 9, 30, 121])
      expect(twoSidedP(studentT(confidence, degrees), degrees)).toBeCloseTo(1 - confidence, 13);
  });

  test.each([0, 0.3, 1, 2.5, 7, 40])("of %d is the integral of the density", (t) => {
    for (const degrees of [1, 2, 3, 4, 7, 12]) {
      // The density's constant follows from the same integral to infinity; x = √ν·tan θ makes both finite.
      const steps = 20_000;
      const integral = (from: number) => {
        const width = (Math.PI / 2 - from) / steps;
        const at = (i: number) => Math.cos(from + i * width) ** (degrees - 1);
        let sum = at(0) + at(steps);
        for (let i = 1; i < steps; i++) sum += (i % 2 === 1 ? 4 : 2) * at(i);
        return (sum * width) / 3;
      };
      const expected = integral(Math.atan(t / Math.sqrt(degrees))) / integral(0);
      expect(Math.abs(twoSidedP(t, degrees) - expected)).toBeLessThan(1e-12);
      expect(twoSidedP(-t, degrees)).toBe(twoSidedP(t, degrees));
    }
  });

  test("of an infinite t is 0", () => {
    expect([twoSidedP(Infinity, 1), twoSidedP(-Infinity, 4)]).toEqual([0, 0]);
  });
});

describe("Holm's adjusted p-values", () => {
  // R: p.adjust(p, "holm").
  test.each([
    [
      [0.01, 0.02, 0.03, 0.04],
      [0.04, 0.06, 0.06, 0.06],
    ],
    [
      [0.01, 0.04, 0.03, 0.005],
      [0.03, 0.06, 0.06, 0.02],
    ],
    [
      [0.5, 0.001, 0.6],
      [1, 0.003, 1],
    ],
    [[0.03], [0.03]],
    [[], []],
  ])("of %j are those of R", (ps, expected) => {
    const adjusted = holm(ps as number[]);
    expect(adjusted).toHaveLength(expected.length);
    for (const [i, p] of adjusted.entries()) expect(p).toBeCloseTo(expected[i] as number, 14);
  });

  const chances = fc.array(fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(0, 0.01, 0.05, 1)), {
    minLength: 1,
    maxLength: 7,
  });

  test("are those of the closed test: the maximum of Bonferroni's over all sets with a comparison", () => {
    fc.assert(
      fc.property(chances, (ps) => {
        const closed = ps.map((_, i) => {
          let worst = 0;
          for (let set = 0; set < 2 ** ps.length; set++) {
            const subset = ps.filter((_, j) => (set >> j) % 2 === 1);
            if ((set >> i) % 2 === 1) worst = Math.max(worst, Math.min(1, subset.length * Math.min(...subset)));
          }
          return worst;
        });
        const adjusted = holm(ps);
        for (const [i, p] of adjusted.entries()) expect(p).toBeCloseTo(closed[i] as number, 13);
      }),
    );
  });

  test("are never above Bonferroni's and never below the p-values", () => {
    fc.assert(
      fc.property(chances, (ps) => {
        for (const [i, p] of holm(ps).entries()) {
          expect(p).toBeGreaterThanOrEqual(ps[i] as number);
          expect(p).toBeLessThanOrEqual(Math.min(1, ps.length * (ps[i] as number)));
        }
      }),
    );
  });

  test("include a comparison without a p-value", () => {
    expect(holm([0.01, undefined, 0.02])).toEqual([0.03, undefined, 0.04]);
  });
});

describe("summaries", () => {
  test("have the sample's mean and standard deviation", () => {
    expect(summarize([2, 4, 4, 4, 5, 5, 7, 9])).toEqual({ n: 8, mean: 5, sd: Math.sqrt(32 / 7) });
  });

  test("of one value have no standard deviation", () => {
    expect(summarize([3])).toEqual({ n: 1, mean: 3 });
  });
});

describe("paired differences", () => {
  const a = [0.62, 0.65, 0.61, 0.66, 0.64];
  const b = [0.6, 0.66, 0.6, 0.63, 0.61];

  test("have scipy's interval, at 95 % and corrected for six comparisons", () => {
    const plain = pairedDifference(a, b, 0.95);
    expect(plain.mean).toBeCloseTo(0.016, 14);
    expect(plain.sd).toBeCloseTo(0.016733200530681527, 14);
    expect(plain.low).toBeCloseTo(-0.004777012673671359, 12);
    // t = 0.016 / (0.0167332… / √5) = 2.1381 with 4 degrees, where P(|t| > x) = 1 − s·(3 − s²)/2 with s = x/√(x² + 4).
    const s = 0.016 / Math.sqrt(0.016 ** 2 + (4 * 0.00028) / 5);
    expect(plain.p).toBeCloseTo(1 - (s * (3 - s ** 2)) / 2, 12);
    expect(plain.p).toBeCloseTo(0.0993, 4);
    expect(plain.high).toBeCloseTo(0.03677701267367139, 12);
    const corrected = pairedDifference(a, b, confidenceOf(6));
    expect(corrected.low).toBeCloseTo(-0.02030162314883978, 12);
    expect(corrected.high).toBeCloseTo(0.05230162314883981, 12);
    expect(corrected.p).toBe(plain.p);
  });

  test("are computed per pair, so a common term of both sides does not widen the interval", () => {
    const luck = [0, 10, -7, 3, 100];
    const shifted = (values: number[]) => values.map((value, i) => value + (luck[i] as number));
    expect(pairedDifference(shifted(a), shifted(b), 0.95).high).toBeCloseTo(0.03677701267367139, 10);
  });

  test.each([1, 2])("of %i pairs have no interval", (n) => {
    const difference = pairedDifference(a.slice(0, n), b.slice(0, n), 0.95);
    expect(difference.mean).toBeTypeOf("number");
    expect(difference).not.toHaveProperty("low");
    expect(difference).not.toHaveProperty("high");
    expect(difference).not.toHaveProperty("p");
  });

  test("have a p-value of 1 if all are 0, and of 0 if all are equal", () => {
    expect(pairedDifference([1, 2, 3], [1, 2, 3], 0.95)).toMatchObject({ mean: 0, low: 0, high: 0, p: 1 });
    expect(pairedDifference([2, 3, 4], [1, 2, 3], 0.95)).toMatchObject({ mean: 1, low: 1, high: 1, p: 0 });
  });

  test("are not corrected for one comparison or none", () => {
    expect([confidenceOf(0), confidenceOf(1), confidenceOf(2)]).toEqual([0.95, 0.95, 0.975]);
  });
});

describe("verdicts", () => {
  const on = (low: number, high: number, adjustedP: number, margin?: number, higherIsBetter = true) =>
    verdictOn({ n: 5, mean: (low + high) / 2, low, high }, { adjustedP, higherIsBetter, margin });

  test("depend on the adjusted p-value, even if the wider interval contains 0", () => {
    expect([on(-0.02, 0.01, 0.4), on(-0.02, 0.01, 0.0501)]).toEqual(["not distinguished", "not distinguished"]);
    expect([on(-0.02, 0.001, 0.05), on(-0.001, 0.02, 0.02)]).toEqual(["worse", "better"]);
  });

  test("are no tie only because the interval contains 0", () => {
    expect(on(-0.02, 0.01, 0.3, 0.015)).toBe("not distinguished");
  });

  test("are a tie if the interval is inside the margin, even if it does not contain 0", () => {
    expect(on(-0.004, 0.005, 1, 0.005)).toBe("tie");
    expect(on(0.001, 0.004, 0.01, 0.005)).toBe("tie");
    expect(on(0.001, 0.006, 0.01, 0.005)).toBe("better");
    expect(on(-0.006, 0.001, 0.2, 0.005)).toBe("not distinguished");
  });

  test("are never a tie without a margin", () => {
    expect(on(-1e-9, 1e-9, 1)).toBe("not distinguished");
  });

  test("depend on the direction of the measure", () => {
    expect([on(0.01, 0.02, 0.01), on(-0.02, -0.01, 0.01)]).toEqual(["better", "worse"]);
    expect([on(0.01, 0.02, 0.01, undefined, false), on(-0.02, -0.01, 0.01, undefined, false)]).toEqual([
      "worse",
      "better",
    ]);
  });

  test("do not exist without an interval", () => {
    const few = { n: 2, mean: 5, sd: 1 };
    expect(verdictOn(few, { adjustedP: undefined, higherIsBetter: true, margin: 100 })).toBe("no interval");
  });
});
