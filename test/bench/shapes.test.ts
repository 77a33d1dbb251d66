import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { namedShapes, totalElements, workloadOfShapes, workloadOfSize } from "#lib/bench/index.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";

const sumOf = (name: string) => totalElements({ name, shapes: namedShapes[name]!() });

describe("the shapes of models", () => {
  test("resnet50 is torchvision's: 161 tensors, 25,557,032 parameters", () => {
    expect(namedShapes["resnet50"]!()).toHaveLength(161);
    expect(sumOf("resnet50")).toBe(25_557_032);
  });

  test.each([
    ["olmo-36m", 36e6, 1 + 9 * 11 + 1],
    ["olmo-300m", 300e6, 1 + 16 * 11 + 1],
  ])("%s has the number of parameters in its name, within 3 %%", (name, parameters, tensors) => {
    expect(Math.abs(sumOf(name) / parameters - 1)).toBeLessThan(0.03);
    expect(namedShapes[name]!()).toHaveLength(tensors);
  });
});

describe("sizes", () => {
  test.each([
    ["1e6", "1 × 1M", 1, 1e6],
    ["1000x1e4", "1000 × 10k", 1000, 1e7],
    ["3 × 1234", "3 × 1,234", 3, 3702],
    ["2x1500000", "2 × 1.5M", 2, 3e6],
  ])("%s is %s", (text, name, tensors, elements) => {
    const workload = workloadOfSize(text);
    expect(workload.name).toBe(name);
    expect(workload.shapes).toHaveLength(tensors);
    expect(totalElements(workload)).toBe(elements);
  });

  test.each(["", "0", "-1", "1.5", "1e99", "1x2x3", "x5", "1e6x", "0x10", "many", "70000x1", "Infinity"])(
    "%j is refused",
    async (text) => {
      await expectError(() => workloadOfSize(text), "invalid-argument", "--sizes: expected", JSON.stringify(text));
    },
  );
});

describe("shapes from a file", () => {
  const folder = temporaryFolders();
  const file = (content: string) => {
    const path = join(folder(), "shapes.json");
    writeFileSync(path, content);
    return path;
  };

  test("are an array of arrays of sizes", async () => {
    const workload = await workloadOfShapes(file("[[2, 3], [5], []]"));
    expect(workload).toEqual({ name: "shapes.json", shapes: [[2, 3], [5], []] });
    expect(totalElements(workload)).toBe(12);
  });

  test.each([
    ["text that is not JSON", "[[1]", "expected JSON"],
    ["a value that is not an array", "{}", "expected an array of shapes"],
    ["an empty array", "[]", "expected an array of shapes"],
    ["an invalid size", "[[2], [0]]", "[1][0]: expected an integer of at least 1, found 0"],
    ["a number in place of a shape", "[5]", "[0]: expected a shape of at most 6 sizes, found 5"],
    ["too many axes", "[[1,1,1,1,1,1,1]]", "[0]: expected a shape of at most 6 sizes"],
    ["more than any memory", "[[1e9, 1e9]]", "elements"],
  ])("%s is refused", async (_, content, words) => {
    await expectError(() => workloadOfShapes(file(content)), "invalid-file", "--shapes", words);
  });

  test("a missing file or an unknown model is refused", async () => {
    await expectError(() => workloadOfShapes("/no/such.json"), "not-found", "--shapes: /no/such.json");
    await expectError(() => workloadOfShapes("resnet51"), "invalid-argument", "--shapes: expected", "resnet51");
  });
});
