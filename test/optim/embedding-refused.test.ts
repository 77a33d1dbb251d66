// Optimizers over caller-owned arrays. An error names what cannot be updated, and parameters, moments and counters stay
// unchanged.
import { afterAll, describe, expect, test } from "vitest";
import { openDevice } from "#lib/native/index.js";
import { tensor } from "#lib/tensor/index.js";
import { expectSameBits, gradientsOf, make, type Options, type Rule, refusal } from "./support/embedded.js";
import { gradientValues, initialValues } from "./support/runs.js";

// The device of the tensors that are passed where arrays are expected.
const device = await openDevice("cpu");
afterAll(() => device.close());

describe("parameters that cannot be updated are refused:", () => {
  const good = () => Float32Array.of(1, 2, 3);

  test.each([
    ["a Float64Array", new Float64Array(3), /^parameters\[1\]/],
    ["an Int32Array", new Int32Array(3), /^parameters\[1\]/],
    ["a Uint8Array", new Uint8Array(12), /^parameters\[1\]/],
    ["a DataView", new DataView(new ArrayBuffer(12)), /^parameters\[1\]/],
    ["an ArrayBuffer", new ArrayBuffer(12), /^parameters\[1\]/],
    ["a list of numbers", [1, 2, 3], /^parameters\[1\]/],
    ["an object that claims to be one", Object.create(Float32Array.prototype), /^parameters\[1\]/],
    ["a number", 3, /^parameters\[1\]/],
    ["null", null, /^parameters\[1\]/],
    ["undefined", undefined, /^parameters\[1\]/],
    ["a tensor among arrays", tensor(device, [1, 2, 3]), /^parameters\[1\]/],
    ["a detached array", detached(), /^parameters\[1\]/],
  ])("%s", (_, value, message) => {
    const first = good();
    const error = refusal(() => make("AdamW", [first, value], { lr: 0.1 }).step([good(), good()]));
    expect(error.message).toMatch(message);
    expect(first).toEqual(good());
  });

  test("an empty list, or a single array instead of a list", () => {
    expect(refusal(() => make("AdamW", [], { lr: 0.1 })).message).toMatch(/^parameters: /);
    expect(refusal(() => make("AdamW", good() as unknown as [], { lr: 0.1 })).message).toMatch(/^parameters: /);
  });

  const whole = new Float32Array(20);
  test.each([
    ["the same array twice", [whole, good(), whole]],
    ["the same elements by two views", [whole.subarray(2, 5), good(), whole.subarray(2, 5)]],
    ["one element in common", [whole.subarray(0, 6), good(), whole.subarray(5, 8)]],
    ["one inside the other", [whole, good(), whole.subarray(9, 10)]],
    ["the later one before the earlier one", [whole.subarray(5, 8), good(), whole.subarray(0, 6)]],
  ])("%s", (_, parameters) => {
    const before = parameters.map((one) => one.slice());
    const gradients = parameters.map(({ length }) => new Float32Array(length).fill(1));
    const { message } = refusal(() => make("SGD", parameters, { lr: 0.1 }).step(gradients));
    // The message names both arrays, in either order.
    expect(message).toMatch(/parameters\[(0|2)\]/);
    expect(parameters).toEqual(before);
  });

  test("neighboring or empty arrays do not overlap and are accepted", () => {
    const parameters = [whole.subarray(0, 5), whole.subarray(5, 8), whole.subarray(2, 2), whole.subarray(8)];
    const gradients = parameters.map(({ length }) => new Float32Array(length).fill(1));
    expect(() => make("SGD", parameters, { lr: 0 }).step(gradients)).not.toThrow();
  });
});

/** A detached Float32Array. */
function detached(array: Float32Array = new Float32Array(3)): Float32Array {
  structuredClone(null, { transfer: [array.buffer as ArrayBuffer] });
  expect(array.length).toBe(0);
  return array;
}

interface Situation {
  readonly parameters: Float32Array[];
  readonly gradients: Float32Array[];
  /** Changes one of the two lists, or the memory of an element, before a step. */
  spoil(): { gradients?: unknown };
  /** Reverses the change, if possible. The steps must then continue as if nothing had happened. */
  repair?(): void;
  readonly names: RegExp;
}

/** An array over a resizable buffer. If `tracks` is true, the array's length follows the buffer's. */
function resizable(length: number, tracks: boolean): { array: Float32Array; resize(length: number): void } {
  const Resizable = ArrayBuffer as unknown as new (
    bytes: number,
    options: { maxByteLength: number },
  ) => ArrayBuffer & { resize(bytes: number): void };
  const buffer = new Resizable(4 * length, { maxByteLength: 8 * length });
  const array = tracks ? new Float32Array(buffer) : new Float32Array(buffer, 0, length);
  array.set(initialValues(length));
  return { array, resize: (to) => buffer.resize(4 * to) };
}

const three = () => [5, 1025, 2].map((size, i) => initialValues(size, i + 1));
const threeGradients = () => gradientsOf([5, 1025, 2], 0).map((values) => values.slice());

const situations: Record<string, () => Situation> = {
  "a parameter was detached": () => {
    const parameters = three();
    return {
      parameters,
      gradients: threeGradients(),
      spoil: () => {
        detached(parameters[1]!);
        return {};
      },
      names: /^(step: )?parameters\[1\]/,
    };
  },
  "a parameter's buffer was shrunk, its length follows": () => resizedParameter(true, 1024),
  "a parameter's buffer was shrunk, the view is out of bounds": () => resizedParameter(false, 1024),
  "a parameter's buffer was shrunk to nothing": () => resizedParameter(true, 0),
  "a parameter's buffer has grown, its length follows": () => resizedParameter(true, 1026),
  "a parameter's shared memory has grown, its length follows": () => {
    const Growable = SharedArrayBuffer as unknown as new (
      bytes: number,
      options: { maxByteLength: number },
    ) => SharedArrayBuffer & { grow(bytes: number): void };
    const memory = new Growable(4 * 1025, { maxByteLength: 8 * 1025 });
    const [first, , last] = three();
    return {
      parameters: [first!, new Float32Array(memory), last!],
      gradients: threeGradients(),
      spoil: () => {
        memory.grow(4 * 1026);
        return {};
      },
      names: /^(step: )?parameters\[1\]/,
    };
  },
  "a gradient was detached": () => {
    const gradients = threeGradients();
    return {
      parameters: three(),
      gradients,
      spoil: () => ({ gradients: [gradients[0], detached(gradients[1]!.slice()), gradients[2]] }),
      repair: () => {},
      names: /^(step: )?gradients\[1\]/,
    };
  },
  "the gradient of the previous step was detached": () => {
    const gradients = threeGradients();
    return {
      parameters: three(),
      gradients,
      spoil: () => {
        detached(gradients[1]!);
        return {};
      },
      repair: () => {
        gradients[1] = threeGradients()[1]!;
      },
      names: /^(step: )?gradients\[1\]/,
    };
  },
  "a gradient is too short": () => otherGradient(1, new Float32Array(1024)),
  "a gradient is too long": () => otherGradient(1, new Float32Array(1026)),
  "a gradient is empty": () => otherGradient(0, new Float32Array(0)),
  "a gradient is a Float64Array": () => otherGradient(2, new Float64Array(2)),
  "a gradient is an Int32Array": () => otherGradient(2, new Int32Array(2)),
  "a gradient is a Uint16Array": () => otherGradient(2, new Uint16Array(2)),
  "a gradient is a list of numbers": () => otherGradient(2, [0, 0]),
  "a gradient is a number": () => otherGradient(2, 0),
  "a gradient is null": () => otherGradient(2, null),
  "a gradient is missing": () => otherGradient(2, undefined),
  "a gradient is a tensor": () => otherGradient(2, tensor(device, [0, 0])),
  "a gradient is an object that claims to be one": () => otherGradient(2, Object.create(Float32Array.prototype)),
  "there are too few gradients": () => otherGradients((good) => good.slice(0, 2)),
  "there are too many gradients": () => otherGradients((good) => [...good, new Float32Array(2)]),
  "there are no gradients": () => otherGradients(() => []),
  "the gradients are one array": () => otherGradients(() => new Float32Array(5)),
  "the gradients are null": () => otherGradients(() => null),
  "the gradients are not a list": () => otherGradients(() => "gradients"),
  "a gradient is its parameter": () => overlapping((parameters) => parameters[1]!),
  "a gradient is another parameter's end": () => {
    const whole = new Float32Array(2048).fill(1);
    const parameters = [whole.subarray(0, 1025), Float32Array.of(3)];
    const gradients = [new Float32Array(1025).fill(1), Float32Array.of(2)];
    return {
      parameters,
      gradients,
      spoil: () => ({ gradients: [gradients[0], whole.subarray(1024, 1025)] }),
      repair: () => {},
      names: /(gradients\[1\].*parameters\[0\]|parameters\[0\].*gradients\[1\])/,
    };
  },
};

function resizedParameter(tracks: boolean, length: number): Situation {
  const [first, , last] = three();
  const { array, resize } = resizable(1025, tracks);
  return {
    parameters: [first!, array, last!],
    gradients: threeGradients(),
    spoil: () => {
      resize(length);
      return {};
    },
    names: /^(step: )?parameters\[1\]/,
  };
}

function otherGradients(change: (good: Float32Array[]) => unknown): Situation {
  const gradients = threeGradients();
  return {
    parameters: three(),
    gradients,
    spoil: () => ({ gradients: change(gradients) }),
    repair: () => {},
    names: /gradients/,
  };
}

function otherGradient(place: number, value: unknown): Situation {
  const names = new RegExp(`^(step: )?gradients\\[${place}\\]`);
  return { ...otherGradients((good) => good.with(place, value as Float32Array)), names };
}

function overlapping(gradient: (parameters: Float32Array[]) => Float32Array): Situation {
  const parameters = three();
  const gradients = threeGradients();
  return {
    parameters,
    gradients,
    spoil: () => ({ gradients: (gradients as Float32Array[]).with(1, gradient(parameters)) }),
    repair: () => {},
    names: /(gradients\[1\].*parameters\[1\]|parameters\[1\].*gradients\[1\])/,
  };
}

describe.each(Object.entries(situations))("if %s", (_, situation) => {
  test.each([
    ["SGD", { lr: 0.05, momentum: 0.9 }],
    ["AdamW", { lr: 0.05, clipNorm: 1, nonFinite: "skip" }],
    // The first parameter has the last position inside the optimizer.
    ["AdamW", { lr: 0.05, groups: [{ where: (name: string) => name === "0", lr: 0.1 }] }],
  ] as [Rule, Options][])("a step of %s with %o throws and changes nothing", async (rule, options) => {
    const { parameters, gradients, spoil, repair, names } = situation();
    const twins = parameters.map((values) => values.slice());
    const [optimizer, twin] = [make(rule, parameters, options), make(rule, twins, options)];
    for (let step = 0; step < 2; step++) {
      optimizer.step(gradients);
      twin.step(gradients);
    }
    const lengths = parameters.map(({ length }) => length);
    const spoiled = spoil();
    const error = refusal(() => optimizer.step("gradients" in spoiled ? spoiled.gradients : gradients));
    expect(["invalid-argument", "invalid-state"]).toContain(error.code);
    expect(error.message).toMatch(names);
    expect(optimizer.iteration).toBe(2);
    expect(await optimizer.stats()).toEqual(await twin.stats());
    const whole = [...parameters.keys()].filter((i) => parameters[i]!.length === lengths[i]);
    const pick = (list: readonly Float32Array[]) => whole.map((i) => list[i]!);
    expectSameBits(pick(parameters), pick(twins), "after the step that was refused");
    if (!repair) return;
    repair();
    for (let step = 0; step < 2; step++) {
      optimizer.step(gradients);
      twin.step(gradients);
    }
    expectSameBits(parameters, twins, "after two more steps");
    expect(await optimizer.stats()).toEqual(await twin.stats());
    expect(optimizer.iteration).toBe(4);
    for (const one of [optimizer, twin]) one.dispose();
  });
});

test.each([
  ["has its first length again", true, [2000, 1025]],
  ["has grown beyond an array of fixed length", false, [2000]],
])("memory that %s is accepted", (_, tracks, lengths) => {
  const { array, resize } = resizable(1025, tracks);
  const twin = array.slice();
  const [optimizer, other] = [make("AdamW", [array], { lr: 0.1 }), make("AdamW", [twin], { lr: 0.1 })];
  const gradient = gradientValues(1025, 0);
  for (const one of [optimizer, other]) one.step([gradient]);
  for (const [i, length] of lengths.entries()) {
    if (i > 0) refusal(() => optimizer.step([gradient]));
    resize(length);
  }
  for (const one of [optimizer, other]) one.step([gradient]);
  expectSameBits([array], [twin], "after another step");
});
