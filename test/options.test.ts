import { describe, expect, test } from "vitest";
import { expectOptions, optionNames } from "#lib/options.js";
import { expectError } from "./support/errors.js";

interface Options {
  readonly size: number;
  readonly stride?: number;
  readonly weightDecay?: number;
}

const names = optionNames<Options>({ size: true, stride: true, weightDecay: true });

describe("names of options", () => {
  test("known names are accepted, in any number", () => {
    for (const given of [
      {},
      { size: 1 },
      { size: 1, stride: 2, weightDecay: 3 },
      Object.assign(Object.create(null), { size: 1 }),
    ])
      expect(() => expectOptions("pool", names, given)).not.toThrow();
  });

  test("an unknown name is refused with the list, the nearest name and itself", async () => {
    const message = 'pool: expected only the options size, stride, weightDecay (did you mean stride?), got "strid"';
    await expectError(() => expectOptions("pool", names, { size: 1, strid: 2 }), "invalid-argument", message);
  });

  test.each([
    ["weight_decay", "weightDecay"],
    ["WEIGHT-DECAY", "weightDecay"],
    ["wd", "weightDecay"],
    ["l2", "weightDecay"],
    ["batch_size", "size"],
    ["strides", "stride"],
  ])("%s is answered with the suggestion %s", async (given, meant) => {
    const call = () => expectOptions("pool", names, { [given]: 1 });
    await expectError(call, "invalid-argument", `(did you mean ${meant}?), got "${given}"`);
  });

  test.each(["toString", "__proto__x", "dilation"])(
    "%s, which no name is near to, gets no suggestion",
    async (given) => {
      const message = `pool: expected only the options size, stride, weightDecay, got "${given}"`;
      await expectError(() => expectOptions("pool", names, { [given]: 1 }), "invalid-argument", message);
    },
  );

  test("names of Object.prototype are not options", async () => {
    for (const given of ["constructor", "hasOwnProperty", "valueOf"])
      await expectError(() => expectOptions("pool", names, { [given]: 1 }), "invalid-argument", `got "${given}"`);
  });

  test("undefined and inherited values are ignored", () => {
    expect(() => expectOptions("pool", names, { strid: undefined })).not.toThrow();
    expect(() => expectOptions("pool", names, Object.create({ strid: 1 }))).not.toThrow();
    expect(() => expectOptions("pool", names, { [Symbol("mark")]: 1 })).not.toThrow();
  });

  test.each([[undefined], [null], [3], ["size"], [[1]], [() => 1], [true]])(
    "%o is not an options object",
    async (given) => {
      const words = "pool: expected an object with the options size, stride, weightDecay, got ";
      await expectError(() => expectOptions("pool", names, given), "invalid-argument", words);
    },
  );
});
