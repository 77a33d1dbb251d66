// The tensors that outlive a tidy block.
import { describe, expect, it } from "vitest";
import { crossEntropy, Tensor, tensor, tidy } from "#lib/tensor/index.js";
import { onEveryDevice } from "../support/devices.js";
import { expectError } from "../support/errors.js";

await onEveryDevice("tidy", (device) => {
  const make = (...values: number[]) => tensor(device, values);

  it("frees the tensors created in the block, except those that it returns", async () => {
    const outside = make(1);
    let lost: Tensor | undefined;
    const result = tidy(() => {
      lost = outside.add(1);
      return lost.multiply(2);
    });
    expect(lost?.disposed).toBe(true);
    expect(outside.disposed).toBe(false);
    expect(await result.item()).toBe(4);
  });

  it.each([
    ["an array", (x: Tensor) => [x]],
    ["an object", (x: Tensor) => ({ x })],
    ["arrays in objects", (x: Tensor) => ({ deep: [{ x }, 3, null, undefined, "text"] })],
  ])("finds tensors in %s", (_, wrap) => {
    let made: Tensor | undefined;
    tidy(() => {
      made = make(1);
      return wrap(made);
    });
    expect(made?.disposed).toBe(false);
  });

  it("passes tensors returned from a nested block to the enclosing block", () => {
    let inner: Tensor | undefined;
    let returned: Tensor | undefined;
    tidy(() => {
      inner = tidy(() => make(1));
      expect(inner.disposed).toBe(false);
      returned = tidy(() => make(2));
      return returned;
    });
    expect(inner?.disposed).toBe(true);
    expect(returned?.disposed).toBe(false);
  });

  it("keeps tensors with keep(), at any depth", async () => {
    let kept: Tensor | undefined;
    tidy(() => {
      tidy(() => {
        kept = make(7).keep();
      });
    });
    expect(await kept!.item()).toBe(7);
  });

  it("frees tensors if the block throws, and the enclosing block then tracks again", () => {
    let first: Tensor | undefined;
    let second: Tensor | undefined;
    tidy(() => {
      expect(() =>
        tidy(() => {
          first = make(1);
          throw new Error("inside");
        }),
      ).toThrow("inside");
      expect(first?.disposed).toBe(true);
      second = make(2);
    });
    expect(second?.disposed).toBe(true);
    expect(make(3).disposed).toBe(false);
  });

  it("refuses a block that returns a promise, and frees its tensors", async () => {
    let made: Tensor | undefined;
    await expectError(
      () =>
        tidy(async () => {
          made = make(1);
        }),
      "invalid-argument",
      "tidy",
      "promise",
    );
    expect(made?.disposed).toBe(true);
  });

  it("keeps a returned loss differentiable", async () => {
    const x = tensor(device, [[1, 2, 3]], undefined, { requiresGrad: true });
    let unused: Tensor | undefined;
    const loss = tidy(() => {
      unused = x.exp();
      const scale = make(2, 2, 2);
      return crossEntropy(x.multiply(scale).tanh(), tensor(device, Int32Array.of(1)));
    });
    expect(unused?.disposed).toBe(true);
    const before = device.memory().tensors;
    loss.backward();
    expect(device.memory().tensors).toBeLessThan(before);
    expect(Array.from(await x.grad!.read()).every(Number.isFinite)).toBe(true);
  });

  it("keeps gradients of parameters that are created and accumulated inside", async () => {
    const x = tensor(device, [1, 2], undefined, { requiresGrad: true });
    for (let i = 0; i < 2; i++)
      tidy(() => {
        x.square().sum().backward();
      });
    expect(Array.from(await x.grad!.read())).toEqual([4, 8]);
  });

  describe("memory", () => {
    it("returns to its initial amount, except for the returned tensor", () => {
      const x = tensor(device, [1, 2, 3], undefined, { requiresGrad: true });
      const before = device.memory();
      const value = tidy(() => {
        const loss = x.square().exp().tanh().sum();
        return loss.detach();
      });
      expect(device.memory().tensors).toBe(before.tensors + 1);
      value.dispose();
      expect(device.memory()).toMatchObject({ allocated: before.allocated, tensors: before.tensors });
    });
  });

  it("disposes of a tensor only once, even after a call inside, a second call, or Symbol.dispose", () => {
    let inside: Tensor | undefined;
    tidy(() => {
      inside = make(1);
      inside.dispose();
    });
    inside?.dispose();
    inside?.[Symbol.dispose]();
    expect(inside?.disposed).toBe(true);
    expect(inside).toBeInstanceOf(Tensor);
  });
});
