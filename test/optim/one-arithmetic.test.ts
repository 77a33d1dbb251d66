// An update gives exactly the same bits on every device. Every device runs the same function of native/update/ with
// explicit fma, sums the norm in the same order, and rounds with the same random numbers.
//
// The portable kernels are not compared. They are for CPUs without an fma instruction, where a fused multiply-add would
// be a library call per element. They multiply and add separately (native/cpu/kernels/vector.h), which rounds twice
// instead of once.
import { describe, expect, test } from "vitest";
import { devices, openAll } from "../support/devices.js";
import { checks, extremeOutcome, outcome, rules, steps } from "./support/outcome.js";
import { storages } from "./support/storages.js";

const fused = devices.filter(({ options }) => options.instructionSet !== "portable");
const opened = await openAll({}, fused);

test("the compared devices are all CPU kernels with fma, the emulated GPU, and real GPUs", () => {
  expect(fused.length).toBe(devices.length - devices.filter(({ label }) => label === "cpu portable").length);
  expect(fused.map(({ name }) => name)).toEqual(expect.arrayContaining([expect.stringMatching(/^cuda:/)]));
  expect(fused.length).toBeGreaterThanOrEqual(2);
});

describe.each(storages)("$title", (storage) => {
  describe.each(rules)("$kind $options", ({ kind, options }) => {
    test.each(checks)("%o", async (check) => {
      const [expected, ...others] = await Promise.all(
        opened.map(async ({ label, device }) => ({
          label,
          result: await outcome(device, kind, { ...options, ...check }, storage),
        })),
      );
      // The comparison must include the counters, the norm, and the coefficient of a clipped step.
      const last = await expected!.result[`statistics after step ${steps - 1}`];
      if ("clipNorm" in check) {
        expect(last).toMatchObject({ iteration: steps, updates: steps - 1, skipped: 1 });
        expect((last as { coefficient: number }).coefficient).toBeLessThan(1);
      } else {
        expect(last).toMatchObject({ iteration: steps, updates: steps, norm: 0, coefficient: 1 });
      }
      for (const { label, result } of others) {
        const different = Object.keys(expected!.result).filter(
          (name) => JSON.stringify(result[name]) !== JSON.stringify(expected!.result[name]),
        );
        expect(different, `of ${label}, otherwise than of ${expected!.label}`).toEqual([]);
      }
    });
  });
});

describe.each(storages)("extreme values: $title", (storage) => {
  test.each(rules)("$kind $options", async ({ kind, options }) => {
    const results = await Promise.all(opened.map(({ device }) => extremeOutcome(device, kind, options, storage)));
    for (const result of results.slice(1)) expect(result).toEqual(results[0]);
  });
});
