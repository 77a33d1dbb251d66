// Tests of backward(): the graph that it walks, the gradients that it leaves, and the calls that it refuses.
// gradients.test.ts tests the formulas of the gradients.
import { describe, expect, it } from "vitest";
import {
  conv2d,
  copy,
  crossEntropy,
  execute,
  fill,
  matmul,
  noGrad,
  ones,
  relu,
  type Tensor,
  tensor,
  tidy,
  withGradient,
} from "#lib/tensor/index.js";
import { onEveryDevice } from "../support/devices.js";
import { expectError } from "../support/errors.js";
import { listOf } from "./support/records.js";

const trainable = { requiresGrad: true };

await onEveryDevice("backward", (device) => {
  const leaf = (...values: number[]) => tensor(device, values, undefined, trainable);
  const read = async (x: Tensor | undefined) => Array.from(await x!.read());

  describe("accumulates gradients", () => {
    it("of several calls", async () => {
      const x = leaf(1, 2, 3);
      x.square().sum().backward();
      expect(await read(x.grad)).toEqual([2, 4, 6]);
      x.multiply(10).sum().backward();
      expect(await read(x.grad)).toEqual([12, 14, 16]);
    });

    it("of both uses of a tensor", async () => {
      const x = leaf(2, 3);
      x.multiply(x).sum().backward();
      expect(await read(x.grad)).toEqual([4, 6]);
      const y = leaf(2, 3);
      y.add(y).sum().backward();
      expect(await read(y.grad)).toEqual([2, 2]);
      const z = leaf(2, 3);
      z.subtract(z).sum().backward();
      expect(await read(z.grad)).toEqual([0, 0]);
      const w = tensor(device, [[1, 2], [3, 4]], undefined, trainable); // biome-ignore format: a matrix
      matmul(w, w, { transposeB: true }).sum().backward();
      expect(await read(w.grad)).toEqual([8, 12, 8, 12]);
    });

    it("after visiting a node of a diamond once, after everything that uses it", async () => {
      const x = leaf(3);
      const middle = x.square();
      let visits = 0;
      const counted = withGradient(
        noGrad(() => middle.multiply(1)),
        [middle],
        {
          gradient: (g) => {
            visits++;
            return [g];
          },
        },
      );
      const left = counted.multiply(2);
      const right = counted.multiply(5);
      // A short and a long path to the same node.
      left.add(right).add(counted).sum().backward();
      expect(visits).toBe(1);
      expect(await read(x.grad)).toEqual([8 * 2 * 3]);
    });

    it("in linear time, even if every node of a graph doubles the number of paths", async () => {
      const x = leaf(1);
      let y: Tensor = x;
      for (let i = 0; i < 60; i++) y = y.add(y).multiply(0.5);
      y.sum().backward();
      expect(await read(x.grad)).toEqual([1]);
    });

    it("through a chain of 10,000 operations", async () => {
      const x = leaf(1);
      let y: Tensor = x;
      for (let i = 0; i < 10_000; i++) y = y.add(1);
      y.backward();
      expect(await read(x.grad)).toEqual([1]);
      // tidy follows the same chain.
      const z = tidy(() => {
        let chain: Tensor = x;
        for (let i = 0; i < 10_000; i++) chain = chain.multiply(1);
        return chain;
      });
      z.backward();
      expect(await read(x.grad)).toEqual([2]);
    });

    it("of a one-element tensor of any shape, and of a leaf's copy", async () => {
      const x = tensor(device, [[5]], undefined, trainable);
      x.multiply(3).backward();
      expect(x.grad!.shape).toEqual([1, 1]);
      expect(await read(x.grad)).toEqual([3]);
    });

    it("through reshape, with the shape of its input", async () => {
      const x = tensor(device, [1, 2, 3, 4, 5, 6], [2, 3], trainable);
      x.reshape([3, -1])
        .multiply(tensor(device, [1, 2, 3, 4, 5, 6], [3, 2]))
        .sum()
        .backward();
      expect(x.grad!.shape).toEqual([2, 3]);
      expect(await read(x.grad)).toEqual([1, 2, 3, 4, 5, 6]);
    });

    it("in separate tensors for two leaves, even if the values are equal", async () => {
      const [a, b] = [leaf(1, 2), leaf(3, 4)];
      const c = tensor(device, [5, 6], [1, 2], trainable);
      a.add(b)
        .add(c.reshape([2]))
        .sum()
        .backward();
      fill(a.grad!, 7);
      fill(c.grad!, 8);
      expect(await read(a.grad)).toEqual([7, 7]);
      expect(await read(b.grad)).toEqual([1, 1]);
      expect(await read(c.grad)).toEqual([8, 8]);
    });
  });

  describe("leaves out", () => {
    it("what comes before detach", async () => {
      const x = leaf(3);
      x.detach().multiply(x).sum().backward();
      expect(await read(x.grad)).toEqual([3]);
      expect(x.detach().requiresGrad).toBe(false);
    });

    it("what is computed inside noGrad, also after noGrad throws", async () => {
      const x = leaf(3);
      const y = noGrad(() => x.square());
      expect(y.requiresGrad).toBe(false);
      expect(() =>
        noGrad(() => {
          throw new Error("inside");
        }),
      ).toThrow("inside");
      expect(x.square().requiresGrad).toBe(true);
      noGrad(() => noGrad(() => {}));
      expect(noGrad(() => noGrad(() => 0) === 0 && x.square().requiresGrad)).toBe(false);
      await expectError(() => noGrad(async () => {}), "invalid-argument", "noGrad", "promise");
      await expectError(() => y.sum().backward(), "invalid-argument", "requires a gradient");
    });

    it("gradients of tensors that require none", async () => {
      const x = leaf(1, 2);
      const frozen = tensor(device, [3, 4]);
      const seen: (readonly boolean[])[] = [];
      const output = noGrad(() => x.multiply(frozen));
      withGradient(output, [x, frozen], {
        gradient: (g, needed) => {
          seen.push(needed);
          return [execute("multiply", [g, frozen])[0], undefined];
        },
      })
        .sum()
        .backward();
      expect(seen).toEqual([[true, false]]);
      expect(await read(x.grad)).toEqual([3, 4]);
      expect(frozen.grad).toBeUndefined();
    });

    it.each(["matmul", "conv2d"] as const)("the second gradient kernel of %s if one side is frozen", (operation) => {
      const shape = operation === "matmul" ? [2, 2] : [1, 2, 2, 1];
      const run = (a: boolean, b: boolean): number => {
        const enqueued: string[] = [];
        const counting = Object.create(device, {
          native: { value: device.native },
          name: { value: device.name },
          enqueue: {
            value: (name: string, ...rest: [never]) => {
              enqueued.push(name);
              return device.enqueue(name, ...rest);
            },
          },
        }) as typeof device;
        const inputs = [a, b].map((requiresGrad) =>
          tensor(counting, Float32Array.of(1, 2, 3, 4), shape, { requiresGrad }),
        );
        execute("fill", [inputs[0]!], { value: 1 });
        const output = operation === "matmul" ? matmul(inputs[0]!, inputs[1]!) : conv2d(inputs[0]!, inputs[1]!);
        output.sum().backward();
        expect(inputs.map(({ grad }) => grad !== undefined)).toEqual([a, b]);
        return enqueued.filter((name) => name.startsWith(operation)).length;
      };
      expect(run(true, true)).toBe(3);
      expect(run(true, false)).toBe(2);
      expect(run(false, true)).toBe(2);
    });

    it("labels and running statistics", async () => {
      const logits = tensor(device, [[1, 2]], undefined, trainable);
      const labels = tensor(device, Int32Array.of(1));
      crossEntropy(logits, labels).backward();
      expect(labels.grad).toBeUndefined();
      expect(logits.grad).toBeDefined();
    });
  });

  describe("releases memory", () => {
    it("of intermediate results, except the root and tensors with keep()", async () => {
      const x = leaf(1, -2);
      const dropped = x.square();
      const kept = dropped.multiply(2).keep();
      const root = kept.relu().sum();
      root.backward();
      expect([x, dropped, kept, root].map(({ disposed }) => disposed)).toEqual([false, true, false, false]);
      expect(await root.item()).toBe(10);
      expect(await read(kept)).toEqual([2, 8]);
    });

    it("and refuses a second call on the same graph or on one that shares a part of it", async () => {
      const x = leaf(1, 2);
      const shared = x.square().keep();
      const first = shared.sum();
      const second = shared.multiply(2).sum();
      first.backward();
      await expectError(() => first.backward(), "invalid-state", "earlier backward()");
      await expectError(() => second.backward(), "invalid-state", "released by an earlier backward()");
      expect(await read(x.grad)).toEqual([2, 4]);
    });

    it("and refuses a tensor with several elements or nothing to differentiate", async () => {
      await expectError(() => leaf(1, 2).square().backward(), "invalid-argument", "one element", "float32[2]");
      await expectError(() => tensor(device, [1]).backward(), "invalid-argument", "nothing to differentiate");
    });
  });

  describe("checks for changes between forward and backward", () => {
    const changes: [string, (x: Tensor) => void][] = [
      ["write", (x) => x.write(Float32Array.of(5, 6))],
      ["fill", (x) => fill(x, 0)],
      ["copy", (x) => copy(x, ones(x.device, [2]))],
      ["a write through a view", (x) => fill(x.reshape([2, 1]), 0)],
      ["a write through detach", (x) => fill(x.detach(), 0)],
      [
        "an optimizer's step",
        (x) => {
          const scalars = tensor(x.device, new Float32Array(17), [1, 17]);
          const updates = tensor(x.device, new Int32Array(1), [1]);
          const lists = [listOf(x.device, [x]), listOf(x.device, [ones(x.device, [2])])];
          x.device.enqueue("update", [scalars.handle, updates.handle], { rule: "sgd" }, lists);
        },
      ],
    ];
    it.each(changes)("and throws on %s of a tensor that a gradient reads", async (_, change) => {
      const x = leaf(1, 2);
      const loss = x.square().sum();
      change(x);
      await expectError(() => loss.backward(), "invalid-state", "square", "[2]", "changed in place");
    });

    it("but accepts a change of a tensor that no gradient reads", async () => {
      const x = leaf(1, 2);
      const loss = x.multiply(3).sum();
      fill(x, 9);
      loss.backward();
      expect(await read(x.grad)).toEqual([3, 3]);
    });

    it("and throws if a tensor that a gradient reads was disposed of", async () => {
      const x = leaf(1, 2);
      const y = tensor(device, [3, 4]);
      const loss = x.multiply(y).sum();
      y.dispose();
      await expectError(() => loss.backward(), "invalid-state", "multiply", "[2]", "disposed");
    });
  });

  describe("withGradient", () => {
    it("gives any result the given gradient function", async () => {
      const x = leaf(1, 2);
      const y = withGradient(tensor(device, [10, 20]), [x], {
        gradient: (g) => [execute("affine", [g], { scale: 7 })[0]],
      });
      y.sum().backward();
      expect(await read(x.grad)).toEqual([7, 7]);
    });

    it("may return the incoming gradient for several inputs, or the same tensor twice", async () => {
      const [a, b] = [leaf(1), leaf(2)];
      withGradient(tensor(device, [0]), [a, b], { gradient: (g) => [g, g] }).backward();
      expect([await read(a.grad), await read(b.grad)]).toEqual([[1], [1]]);
      const [c, d] = [leaf(1), leaf(2)];
      withGradient(tensor(device, [0]), [c, d], {
        gradient: (g) => {
          const [twice] = execute("affine", [g], { scale: 2 });
          return [twice, twice];
        },
      }).backward();
      fill(c.grad!, 5);
      expect(await read(d.grad)).toEqual([2]);
    });

    it("refuses an output that already has a gradient, and checks the tensors that it saves", async () => {
      const x = leaf(1);
      await expectError(() => withGradient(x.square(), [x], { gradient: (g) => [g] }), "invalid-argument", "noGrad");
      const saved = tensor(device, [1]);
      const y = withGradient(tensor(device, [0]), [x], { saves: [saved], gradient: (g) => [g] });
      fill(saved, 2);
      await expectError(() => y.backward(), "invalid-state", "changed in place");
    });

    it("rethrows an error of the gradient function, and recording works afterwards", async () => {
      const x = leaf(1);
      const y = withGradient(tensor(device, [0]), [x], {
        gradient: () => {
          throw new Error("of the gradient");
        },
      });
      expect(() => y.backward()).toThrow("of the gradient");
      expect(relu(x).requiresGrad).toBe(true);
    });
  });

  it("rejects a read of the loss if a label is not a class, and the device stays usable", async () => {
    const logits = tensor(device, [[1, 2], [3, 4]], undefined, trainable); // biome-ignore format: a matrix
    const loss = crossEntropy(logits, tensor(device, Int32Array.of(0, 2)));
    await expectError(() => loss.item(), "device-failed", "crossEntropy(float32[2,2], int32[2])", "label 2 in row 1");
    await device.synchronize();
    expect(await read(logits)).toEqual([1, 2, 3, 4]);
    const negative = crossEntropy(logits, tensor(device, Int32Array.of(-1, 0)));
    await device.synchronize();
    await expectError(() => negative.item(), "device-failed", "label -1 in row 0");
  });
});
