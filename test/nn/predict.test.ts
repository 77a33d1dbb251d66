import { expect, test } from "vitest";
import { create, type ModelConfig } from "#lib/models/index.js";
import { BatchNorm, Dropout, Linear, Module, Preparation, Sequential } from "#lib/nn/index.js";
import { asType, mean, noGrad, type Tensor, tensor } from "#lib/tensor/index.js";
import { bits } from "../support/compare.js";
import { onEveryDevice } from "../support/devices.js";
import { expectError } from "../support/errors.js";
import { labelsOf, numbers } from "../support/numbers.js";

const configs: readonly (readonly [ModelConfig, readonly number[]])[] = [
  [{ kind: "resnet", depth: 8, classes: 3, channels: 1, width: 2 }, [8, 8, 1]],
  [{ kind: "resnet18", classes: 3, channels: 2, width: 2, stem: "cifar" }, [8, 8, 2]],
  [{ kind: "mlp", inputs: 6, hidden: [5], classes: 3 }, [6]],
  [{ kind: "olmo", vocabulary: 11, context: 4, width: 8, layers: 1, heads: 2, hidden: 8 }, [4]],
];

const items = 7;

await onEveryDevice("predict", (device) => {
  const inputsOf = ({ kind }: ModelConfig, shape: readonly number[]) => {
    const length = items * shape.reduce((product, size) => product * size, 1);
    return kind === "olmo" ? labelsOf(length, 1, 11) : numbers(length, 1);
  };

  test.each(configs)(
    "of $kind has the values of forward in evaluation mode, whatever the batch",
    async (config, shape) => {
      const model = create(config, { device, seed: 3 });
      const inputs = inputsOf(config, shape);
      // Statistics other than those of the start, so that the mode makes a difference.
      if (config.kind !== "olmo") model.forward(tensor(device, inputs, [items, ...shape]));
      model.eval();
      const expected = noGrad(() => model.forward(tensor(device, inputs, [items, ...shape])));
      model.train();
      const whole = await model.predict(inputs, { shape, size: items });
      expect(whole.shape).toEqual(expected.shape);
      expect(bits(whole.data)).toEqual(bits(await asType(expected, "float32").read()));
      for (const size of [1, 3, 64]) {
        const { data, shape: found } = await model.predict(inputs, { shape, size });
        expect(found).toEqual(expected.shape);
        // A sum may have another order in a batch of another size.
        data.forEach((value, i) => {
          expect(Math.abs(value - whole.data[i]!), `${i} with ${size}`).toBeLessThanOrEqual(1e-5);
        });
      }
      expect(model.modules().every(({ training }) => training)).toBe(true);
    },
  );

  test("leaves the mode of each module, gradients and memory as they were", async () => {
    const [inner, norm, dropout] = [new Linear(4, 4, { device }), new BatchNorm(4, { device }), new Dropout(0.5)];
    const model = new Sequential(inner, norm, dropout);
    norm.eval();
    const before = device.memory().allocated;
    const { data } = await model.predict(numbers(20, 2), { shape: [4], size: 2 });
    // The garbage collector may free tensors of other tests meanwhile.
    expect(device.memory().allocated).toBeLessThanOrEqual(before);
    expect([model, inner, norm, dropout].map(({ training }) => training)).toEqual([true, true, false, true]);
    expect(model.parameters().every(({ grad }) => grad === undefined)).toBe(true);
    // Dropout would have set some of them to zero.
    expect([...data].filter((value) => value === 0)).toEqual([]);
    expect(dropout.counter).toBe(0);
  });

  test("takes nested arrays, and prepares raw bytes", async () => {
    const model = new Linear(2, 1, { device, seeds: 4 });
    const rows = [
      [1, 2],
      [3, 4],
      [5, 6],
    ];
    const expected = bits((await model.predict(Float32Array.from(rows.flat()), { shape: [2] })).data);
    expect(bits((await model.predict(rows, { size: 2 })).data)).toEqual(expected);
    const preprocessing = { shape: [2], dtype: "uint8", scale: 1, mean: [0, 0], std: [1, 1] } as const;
    const preparation = new Preparation(model, preprocessing);
    const prepare = (raw: Tensor) => preparation.apply(raw);
    const { data, shape } = await model.predict(Uint8Array.from(rows.flat()), { shape: [2], prepare });
    expect(shape).toEqual([3, 1]);
    expect(bits(data)).toEqual(expected);
  });

  test("of a bf16 model is float32", async () => {
    const model = new Linear(2, 3, { device, seeds: 4 }).setPrecision("bf16");
    const preparation = new Preparation(model);
    const { data } = await model.predict([[1, 2]], { prepare: (raw) => preparation.apply(raw) });
    const x = tensor(device, [[1, 2]], undefined, { dtype: "bfloat16" });
    expect(bits(data)).toEqual(bits(await asType(model.forward(x), "float32").read()));
  });

  test("stops before the next batch", async () => {
    const model = new Linear(1, 1, { device });
    const reason = new Error("enough");
    const stop = new AbortController();
    let batches = 0;
    const prepare = (raw: Tensor) => {
      if (++batches === 2) stop.abort(reason);
      return raw;
    };
    await expect(model.predict(numbers(9, 1), { shape: [1], size: 1, prepare, signal: stop.signal })).rejects.toBe(
      reason,
    );
    expect(batches).toBe(2);
  });

  test("passes on the error of a batch", async () => {
    const model = create(
      { kind: "olmo", vocabulary: 3, context: 2, width: 2, layers: 1, heads: 1, hidden: 2 },
      { device },
    );
    const ids = Int32Array.of(0, 1, 0, 9, 0, 1);
    await expectError(() => model.predict(ids, { shape: [2], size: 1 }), "device-failed");
  });

  test("refuses inputs that do not fit", async () => {
    const model = new Linear(2, 1, { device });
    const one = new Float32Array(4);
    await expectError(() => model.predict(one), "invalid-argument", "predict.shape", "the shape of one item");
    await expectError(() => model.predict(one, { shape: [3] }), "invalid-argument", "inputs", "multiple of 3", "got 4");
    await expectError(() => model.predict([]), "invalid-argument", "at least one item");
    await expectError(() => model.predict([[1, 2], [3]]), "invalid-argument");
    await expectError(() => model.predict([[1, 2]], { shape: [1] }), "invalid-argument", "predict.shape", "[2]");
    await expectError(() => model.predict([[1, 2]], { size: 0 }), "invalid-argument", "predict.size");
    await expectError(() => model.predict(tensor(device, [[1, 2]]) as never), "invalid-argument", "inputs");
    await expectError(() => model.predict([[1, 2, 3]]), "invalid-argument");
    class Mean extends Linear {
      override forward(x: Tensor): Tensor {
        return mean(super.forward(x));
      }
    }
    const averaged = new Mean(2, 1, { device });
    await expectError(() => averaged.predict([[1, 2]]), "invalid-argument", "outputs [1, …] of the model");
    class Empty extends Module {
      forward(x: Tensor): Tensor {
        return x;
      }
    }
    await expectError(() => new Empty().predict([[1]]), "invalid-state", "parameters");
  });
});
