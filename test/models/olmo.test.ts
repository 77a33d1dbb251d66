import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { configOf, create, type Olmo, type OlmoOptions, olmo, olmoShapes } from "#lib/models/index.js";
import type { Device } from "#lib/native/index.js";
import { crossEntropy } from "#lib/nn/index.js";
import { type Tensor, tensor, tidy } from "#lib/tensor/index.js";
import { bits } from "../support/compare.js";
import { onEveryDevice, physicalDevices } from "../support/devices.js";
import { expectError } from "../support/errors.js";
import { labelsOf } from "../support/numbers.js";

const small: OlmoOptions = { vocabulary: 11, context: 6, width: 12, layers: 2, heads: 3, hidden: 10 };
const countOf = (model: Olmo) => model.parameters().reduce((total, { size }) => total + size, 0);

/** Each layer has four square matrices and three of the feed-forward part. The embedding is added. */
function expectedCount({ vocabulary, width, layers, hidden }: Omit<OlmoOptions, "context" | "heads">): number {
  return layers * (4 * width ** 2 + 3 * width * hidden) + vocabulary * width;
}

describe("the named shapes", () => {
  // Millions of parameters with OLMo's vocabulary, as the docs and the names state. nano has a vocabulary of bytes.
  test.each([
    ["olmo-36m", 50_280, 35.8],
    ["olmo-73m", 50_280, 73.2],
    ["olmo-151m", 50_280, 151.9],
    ["olmo-300m", 50_280, 319.9],
    ["olmo-nano", 257, 0.9],
  ] as const)("%s with %i tokens has %f million parameters", (name, vocabulary, millions) => {
    expect(expectedCount({ vocabulary, ...olmoShapes[name] }) / 1e6).toBeCloseTo(millions, 1);
  });

  test("are all listed in docs/models.md with these numbers", () => {
    const page = readFileSync(new URL("../../docs/models.md", import.meta.url), "utf8");
    const rows = [...page.matchAll(/^\| `(olmo-\w+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| ([\d,]+)/gm)];
    expect(rows.map(([, name]) => name)).toEqual(Object.keys(olmoShapes));
    for (const [, name, width, layers, heads, hidden, count] of rows) {
      const shape = olmoShapes[name as keyof typeof olmoShapes];
      expect({ width, layers, heads, hidden }).toEqual(
        Object.fromEntries(Object.entries(shape).map(([key, value]) => [key, String(value)])),
      );
      expect(Number(count!.replaceAll(",", ""))).toBe(expectedCount({ vocabulary: 50_280, ...shape }));
    }
    expect(page).toContain(
      `${expectedCount({ vocabulary: 257, ...olmoShapes["olmo-nano"] }).toLocaleString("en")} with bytes`,
    );
  });

  test("are adapted to the data", async () => {
    expect(configOf("olmo-nano", [64], 300)).toEqual({
      kind: "olmo",
      vocabulary: 300,
      context: 64,
      ...olmoShapes["olmo-nano"],
    });
    await expectError(() => configOf("olmo-nano", [28, 28, 1], 10), "invalid-argument", "data", "windows of tokens");
  });
});

const variants: readonly Partial<OlmoOptions>[] = [
  {},
  { tied: false },
  { norm: "rmsnorm" },
  { norm: "rmsnorm", normalize: "outputs" },
  { norm: "rmsnorm", normalize: "outputs", tied: false, keyValueHeads: 1 },
];

/** Expects the first loss to be that of equally likely tokens. It was up to 1.5 % larger, for a vocabulary of 29. */
async function expectUndecided(device: Device, options: OlmoOptions): Promise<void> {
  const { vocabulary, context } = options;
  const tokens = labelsOf(4 * context, 5, vocabulary);
  const model = olmo({ ...options, device });
  const loss = tidy(() => {
    const [inputs, labels] = [tokens, tokens.toReversed()].map((ids) => tensor(device, ids, [4, context]));
    return crossEntropy(model.forward(inputs!), labels!);
  });
  expect((await loss.item()) / Math.log(vocabulary) - 1, JSON.stringify(options)).toBeLessThan(0.02);
  expect((await loss.item()) / Math.log(vocabulary) - 1).toBeGreaterThan(-0.02);
  model.dispose();
}

await onEveryDevice(
  "initial losses of the named shapes",
  (device) => {
    // One layer of each, because the whole 300M model would take a gigabyte.
    test.each(Object.keys(olmoShapes))("%s starts with nearly equal probabilities", async (name) => {
      const shape = olmoShapes[name as keyof typeof olmoShapes];
      for (const variant of variants)
        await expectUndecided(device, { ...shape, layers: 1, ...variant, vocabulary: 257, context: 32 });
    });
  },
  physicalDevices.slice(-1),
);

await onEveryDevice("olmo", (device) => {
  const logitsOf = (model: Olmo, tokens: readonly number[]): Tensor =>
    model.forward(tensor(device, Int32Array.from(tokens), [1, tokens.length]));

  test("has the number of parameters of the formula, and more with RMSNorm or an untied output matrix", () => {
    expect(countOf(olmo({ ...small, device }))).toBe(expectedCount(small));
    expect(countOf(olmo({ ...small, tied: false, device }))).toBe(expectedCount(small) + 11 * 12);
    // Two norms per layer, queries and keys, and the last norm.
    expect(countOf(olmo({ ...small, norm: "rmsnorm", device }))).toBe(expectedCount(small) + (2 * 4 + 1) * 12);
    const nano = { vocabulary: 257, context: 128, ...olmoShapes["olmo-nano"] };
    expect(countOf(olmo({ ...nano, device }))).toBe(expectedCount(nano));
  });

  test("uses the default for an undefined option", () => {
    const undefinedOptions = { tied: undefined, norm: undefined, clip: undefined, keyValueHeads: undefined } as object;
    const model = olmo({ ...small, ...undefinedOptions, device });
    expect(model.head).toBeUndefined();
    expect(countOf(model)).toBe(expectedCount(small));
  });

  test("gives earlier tokens the same bits, whatever tokens come later", async () => {
    const model = olmo({ ...small, device });
    const tokens = [...labelsOf(40, 1, 11)];
    const [long, short] = await Promise.all([
      logitsOf(model, tokens).read(),
      logitsOf(model, tokens.with(25, (tokens[25]! + 1) % 11)).read(),
    ]);
    expect(bits(short.subarray(0, 25 * 11))).toEqual(bits(long.subarray(0, 25 * 11)));
    expect(bits(short.subarray(25 * 11))).not.toEqual(bits(long.subarray(25 * 11)));
  });

  test("has equal weights for equal seeds, and create() builds it from JSON", async () => {
    const [a, b, c] = [
      olmo({ ...small, device, seed: 3 }),
      create(JSON.parse(JSON.stringify({ kind: "olmo", ...small })), { device, seed: 3 }) as Olmo,
      olmo({ ...small, device, seed: 4 }),
    ];
    const logits = await Promise.all([a, b, c].map((model) => logitsOf(model, [1, 2, 3]).read()));
    expect(bits(logits[1]!)).toEqual(bits(logits[0]!));
    expect(bits(logits[2]!)).not.toEqual(bits(logits[0]!));
  });

  test.each(variants)("starts with nearly equal probabilities in any shape with %j", async (variant) => {
    for (const shape of [
      { vocabulary: 29, width: 16, layers: 1, heads: 2, hidden: 32 },
      { vocabulary: 64, width: 24, layers: 8, heads: 3, hidden: 40 },
      { vocabulary: 1000, width: 64, layers: 2, heads: 4, hidden: 128 },
    ])
      await expectUndecided(device, { ...shape, ...variant, context: 64 });
  });

  test.each([
    [{ heads: 5 }, "olmo.heads: expected a number that divides the width of 12 into even parts up to 256, got 5"],
    [{ heads: 4 }, "olmo.heads: expected a number that divides the width of 12 into even parts up to 256, got 4"],
    [{ keyValueHeads: 2 }, "olmo.keyValueHeads: expected a number that divides the 3 heads, got 2"],
    [{ normalize: "output" as never }, 'olmo.normalize: expected "inputs" or "outputs", got "output"'],
    [{ normEpsilon: 0 }, "olmo.normEpsilon: expected a number above 0, got 0"],
    [{ vocabulary: 0 }, "olmo.vocabulary: expected a whole number of at least 1, got 0"],
    [{ layers: 1.5 }, "olmo.layers: expected a whole number of at least 1, got 1.5"],
  ])("refuses %j", async (wrong, message) => {
    await expectError(() => olmo({ ...small, ...wrong, device }), "invalid-argument", message);
  });

  test("rejects the read of the logits with the id of a token outside the vocabulary", async () => {
    const model = olmo({ ...small, device });
    await expect(logitsOf(model, [1, 11]).read()).rejects.toThrow(/embedding.*id 11 at position 1 is outside 0 to 10/);
    await device.synchronize();
  });
});
