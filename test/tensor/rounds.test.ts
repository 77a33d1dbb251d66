// Sizes that need more than one round of every loop: rows longer than the threads of a block, more rows than a grid has
// groups, sums of more parts than are merged at once, more ids than are sorted together. The emulated GPU has eight
// blocks (test/emulator/runtime_devices.h). The CPU cuts work into chunks of 16,384 elements. Every number is compared
// with a definition in float64. All elements of an input differ, so that reading a wrong element is detected.
import { describe, expect, it } from "vitest";
import * as t from "#lib/tensor/index.js";
import { expectClose } from "../support/compare.js";
import { onEveryDevice } from "../support/devices.js";
import { labelsOf, numbers } from "../support/numbers.js";
import { averagePool2d, elements, maxPool2d, type Read, sum, values, windows } from "../support/reference.js";
import { batchNorm, crossEntropy, logSoftmax, rowNorm } from "../support/row-reference.js";
import { rotary } from "../support/sequence-reference.js";

await onEveryDevice("operations over more than one round", (device) => {
  /** Hashed numbers, as a tensor that requires a gradient and on the host. */
  function input(shape: readonly number[], salt: number, center = 0): Read & { tensor: t.Tensor } {
    const data = numbers(elements(shape), salt, center);
    return { shape, data, tensor: t.tensor(device, data, shape, { requiresGrad: true }) };
  }
  const wide = ({ shape, data }: Read) => values(shape, (i) => data[i]!);

  /** Runs backward from Σ g·output and returns g. */
  function backward(output: t.Tensor, salt: number): Read {
    const g = input(output.shape, salt);
    output.multiply(g.tensor.detach()).sum().backward();
    return g;
  }

  describe("sums", () => {
    it.each([
      // Rows of several parts, and more parts than blocks.
      { shape: [5, 40_000], from: 1, count: 1 },
      { shape: [70_001], from: 0, count: 1 },
      // Columns: more parts than are merged at once, several tiles of columns, more tasks than blocks.
      { shape: [2, 5000, 70], from: 1, count: 1 },
      { shape: [9001, 5], from: 0, count: 1 },
      // Many short sums.
      { shape: [700, 33], from: 1, count: 1 },
      { shape: [300, 9, 11], from: 1, count: 1 },
      { shape: [3, 4, 100, 130], from: 1, count: 2 },
    ])("and means of $shape over $count axes from $from on", async ({ shape, from, count }) => {
      const x = input(shape, 1);
      const axes = Array.from({ length: count }, (_, i) => from + i);
      const length = elements(shape.slice(from, from + count));
      const expected = sum(wide(x), from, count);
      expectClose(await t.sum(x.tensor, axes).read(), expected.data, 2 * Math.sqrt(length), "the sum");
      const mean = t.mean(x.tensor, axes).keep();
      expectClose(
        await mean.read(),
        expected.data.map((total) => total / length),
        4,
        "the mean",
      );
      const g = backward(mean, 2);
      const inner = elements(shape.slice(from + count));
      const gradient = values(shape, (i) => g.data[Math.floor(i / inner / length) * inner + (i % inner)]! / length);
      expectClose(await x.tensor.grad!.read(), gradient.data, 1, "the gradient");
    });
  });

  describe("rows", () => {
    // Rows of up to 512 columns are processed by a warp, longer ones by a block, 1,024 columns at once.
    const shapes = [
      [5000, 9],
      [150, 300],
      [19, 1500],
      [9, 4099],
    ];

    it.each(shapes)("layerNorm of [%i, %i]", async (...shape) => {
      const columns = [shape[1] as number];
      const [x, gamma, beta] = [input(shape, 1), input(columns, 2, 2), input(columns, 3)];
      const output = t.layerNorm(x.tensor, { gamma: gamma.tensor, beta: beta.tensor }, { epsilon: 0.01 }).keep();
      const expected = rowNorm(x, gamma, beta, backward(output, 4), 0.01);
      expectClose(await output.read(), expected.output.data, 32, "the output");
      for (const [i, one] of [x, gamma, beta].entries()) {
        const allowed = i === 0 ? 64 : 8 * Math.sqrt(shape[0] as number);
        expectClose(await one.tensor.grad!.read(), expected.gradients[i]!.data, allowed, `the gradient of input ${i}`);
      }
    });

    it.each(shapes)("rmsNorm of [%i, %i]", async (...shape) => {
      const [x, gamma] = [input(shape, 1), input([shape[1] as number], 2, 2)];
      const output = t.rmsNorm(x.tensor, gamma.tensor, { epsilon: 0.01 }).keep();
      const expected = rowNorm(x, gamma, undefined, backward(output, 4), 0.01);
      expectClose(await output.read(), expected.output.data, 32, "the output");
      for (const [i, one] of [x, gamma].entries()) {
        const allowed = i === 0 ? 64 : 8 * Math.sqrt(shape[0] as number);
        expectClose(await one.tensor.grad!.read(), expected.gradients[i]!.data, allowed, `the gradient of input ${i}`);
      }
    });

    it.each(shapes)("logSoftmax of [%i, %i]", async (...shape) => {
      const x = input(shape, 1);
      const output = t.logSoftmax(x.tensor).keep();
      const expected = logSoftmax(x, backward(output, 2));
      expectClose(await output.read(), expected.output.data, 4 * Math.sqrt(shape[1] as number), "the output");
      expectClose(
        await x.tensor.grad!.read(),
        expected.gradient.data,
        4 * Math.sqrt(shape[1] as number),
        "the gradient",
      );
    });

    it.each(shapes)("crossEntropy of [%i, %i], with all kinds of weights", async (...shape) => {
      const [rows, classes] = shape as [number, number];
      const x = input(shape, 1);
      const labels = labelsOf(rows, 2, classes).map((label, row) => (row % 7 === 3 ? -100 : label));
      const [ofClasses, ofItems] = [input([classes], 3, 1.25), input([rows], 4, 1.25)];
      const [smoothing, ignoreIndex] = [0.2, -100];
      const options = {
        smoothing,
        ignoreIndex,
        classWeights: ofClasses.tensor.detach(),
        itemWeights: ofItems.tensor.detach(),
      };
      const weights = { smoothing, ignoreIndex, classes: ofClasses.data, items: ofItems.data };
      const losses = t.crossEntropy(x.tensor, t.tensor(device, labels), { ...options, reduction: "none" }).keep();
      const each = crossEntropy(x, labels, weights, backward(losses, 5).data);
      expectClose(await losses.read(), each.losses.data, 4 * Math.sqrt(classes), "the losses");
      expectClose(await x.tensor.grad!.read(), each.gradient.data, 4 * Math.sqrt(classes), "their gradient");

      x.tensor.zeroGrad();
      const mean = t.crossEntropy(x.tensor, t.tensor(device, labels), options).keep();
      mean.backward();
      const total = crossEntropy(x, labels, weights, new Float64Array(rows).fill(1 / each.weight));
      const expected = total.losses.data.reduce((all, loss) => all + loss, 0) / each.weight;
      expectClose([await mean.item()], [expected], 4 * Math.sqrt(rows), "the mean");
      expectClose(await x.tensor.grad!.read(), total.gradient.data, 1, "its gradient");
    });

    // Rows longer than a CPU thread's scratch memory of 2¹⁹ numbers. The numbers grow along the row, so that a part
    // read from a wrong place is detected.
    it("logSoftmax and crossEntropy of a row of 600,000 numbers", async () => {
      const [rows, classes] = [2, 600_001];
      const along = (at: number) => (at % classes) / classes;
      const data = numbers(rows * classes, 1).map((value, at) => value + 2 * along(at));
      const x = { shape: [rows, classes], data, tensor: t.tensor(device, data, [rows, classes]) };
      x.tensor.requiresGrad = true;
      const none = { shape: x.shape, data: new Float64Array(data.length) };
      expectClose(await t.logSoftmax(x.tensor.detach()).read(), logSoftmax(x, none).output.data, 512);

      const labels = Int32Array.of(3, classes - 2);
      const ofClasses = Float32Array.from({ length: classes }, (_, at) => 0.25 + along(at));
      const weights = { smoothing: 0.5, ignoreIndex: -100, classes: ofClasses, items: [1, 2] };
      const options = {
        smoothing: 0.5,
        classWeights: t.tensor(device, ofClasses),
        itemWeights: t.tensor(device, [1, 2]),
      };
      const losses = t.crossEntropy(x.tensor, t.tensor(device, labels), { ...options, reduction: "none" }).keep();
      losses
        .multiply(t.tensor(device, [1, -3]))
        .sum()
        .backward();
      const expected = crossEntropy(x, labels, weights, [1, -3]);
      expectClose(await losses.read(), expected.losses.data, 512, "the losses");
      // Except for the labels, each number is around 10⁻⁵. Multiplied by the number of classes it can be compared with
      // 1.
      const scaled = (gradient: ArrayLike<number>) => Float64Array.from(gradient, (value) => value * classes);
      const got = await x.tensor.grad!.read();
      for (const [row, label] of labels.entries()) {
        const at = row * classes + label;
        expectClose([got[at]!], [expected.gradient.data[at]!], 16, "the gradient of a label");
      }
      expectClose(scaled(got), scaled(expected.gradient.data), 512, "the gradient");
    });

    it.each(shapes)("argmax of [%i, %i], and the number of correct predictions", async (...shape) => {
      const [rows, columns] = shape as [number, number];
      const x = input(shape, 1);
      const largest = Int32Array.from({ length: rows }, (_, row) => {
        const logits = x.data as Float32Array;
        const values = logits.subarray(row * columns, (row + 1) * columns);
        return values.indexOf(values.reduce((max, value) => Math.max(max, value)));
      });
      expect(await t.argmax(x.tensor).read()).toEqual(largest);
      // Two of three labels are correct, and every seventh label is ignored.
      const labels = largest.map((at, row) => (row % 7 === 6 ? -100 : row % 3 === 0 ? (at + 1) % columns : at));
      const right = labels.filter((label, row) => label === largest[row]).length;
      expect(await t.correctCount(x.tensor.detach(), t.tensor(device, labels)).item()).toBe(right);
      // Rows whose label is the ignored class do not count, even if they are predicted correctly.
      const ignoreIndex = largest[1]!;
      const others = labels.filter((label, row) => label === largest[row] && label !== ignoreIndex).length;
      expect(await t.correctCount(x.tensor.detach(), t.tensor(device, labels), { ignoreIndex }).item()).toBe(others);
      expect(others).toBeLessThan(right);
    });
  });

  // More parts of rows than are merged at once, more channels than a block has columns, and partial chunks and parts at
  // the end. The numbers grow from row to row, so that no two parts have the same mean.
  it.each([{ shape: [5000, 9] }, { shape: [300, 130] }, { shape: [7, 40, 50, 3] }, { shape: [2, 9000, 4] }])(
    "batchNorm of $shape",
    async ({ shape }) => {
      const channels = [shape.at(-1) as number];
      const drawn = numbers(elements(shape), 1);
      const data = drawn.map((value, i) => value + (2 * i) / drawn.length);
      const x = { shape, data, tensor: t.tensor(device, data, shape, { requiresGrad: true }) };
      const [gamma, beta] = [input(channels, 2, 2), input(channels, 3)];
      const [runningMean, runningVariance] = [t.zeros(device, channels), t.zeros(device, channels)];
      const statistics = { gamma: gamma.tensor, beta: beta.tensor, runningMean, runningVariance };
      const output = t.batchNorm(x.tensor, statistics, { epsilon: 0.01, momentum: 1 }).keep();
      const expected = batchNorm(x, gamma, beta, backward(output, 4), 0.01);
      expectClose(await output.read(), expected.output.data, 32, "the output");
      for (const [i, one] of [x, gamma, beta].entries()) {
        const allowed = i === 0 ? 64 : 4 * Math.sqrt(elements(shape));
        expectClose(await one.tensor.grad!.read(), expected.gradients[i]!.data, allowed, `the gradient of input ${i}`);
      }
      expectClose(await runningMean.read(), expected.mean, 16, "the running mean");
      expectClose(await runningVariance.read(), expected.variance, 16, "the running variance");
    },
  );

  describe("sequences", () => {
    /** Ids as text has them: the id of rank r has a probability proportional to 1/(r + 2.7). */
    function textIds(count: number, rows: number): Int32Array {
      const upTo: number[] = [];
      for (let rank = 0; rank < rows; rank++) upTo.push((upTo.at(-1) ?? 0) + 1 / (rank + 2.7));
      return Int32Array.from(numbers(count, 4), (x) => {
        const place = ((x + 1) / 2) * upTo.at(-1)!;
        return upTo.findIndex((end) => place < end);
      });
    }
    // Several chunks of ids, each of which ends inside the table's ids, and rows wider than the threads of a block.
    it.each([
      { ids: 300, rows: 7, width: 1100, kind: "spread", pick: (ids: number, rows: number) => labelsOf(ids, 2, rows) },
      { ids: 5000, rows: 41, width: 6, kind: "spread", pick: (ids: number, rows: number) => labelsOf(ids, 2, rows) },
      { ids: 2048, rows: 3, width: 517, kind: "spread", pick: (ids: number, rows: number) => labelsOf(ids, 2, rows) },
      { ids: 3000, rows: 3, width: 8, kind: "equal", pick: (ids: number) => new Int32Array(ids).fill(1) },
      { ids: 4000, rows: 500, width: 3, kind: "frequent and rare", pick: textIds },
    ])("embedding of $ids $kind ids in [$rows, $width]", async ({ ids, rows, width, pick }) => {
      const table = input([rows, width], 1);
      const picked = pick(ids, rows);
      const output = t.embedding(t.tensor(device, picked), table.tensor).keep();
      const expected = values([ids, width], (i) => table.data[picked[Math.floor(i / width)]! * width + (i % width)]!);
      expectClose(await output.read(), expected.data, 0, "the output");
      const g = backward(output, 3);
      const gradient = values([rows, width], () => 0);
      picked.forEach((id, at) => {
        for (let j = 0; j < width; j++) gradient.data[id * width + j]! += g.data[at * width + j]!;
      });
      const counts = values([rows], () => 0).data;
      for (const id of picked) counts[id]!++;
      const allowed = 4 * Math.sqrt(Math.max(...counts));
      expectClose(await table.tensor.grad!.read(), gradient.data, allowed, "the gradient");
    });

    // More heads than a block's threads rotate at once, more pairs in a head than have angles at once, more positions
    // than blocks, and a second sequence, which starts at position 0 again.
    it.each([
      [2, 9, 40, 64],
      [2, 11, 2, 600],
    ])("rotary of [%i, %i, %i, %i]", async (...shape) => {
      const x = input(shape, 1);
      const output = t.rotary(x.tensor, { base: 500 }).keep();
      expectClose(await output.read(), rotary(wide(x), 500).data, 4, "the output");
      const g = backward(output, 2);
      // The inverse of a rotation is its transpose. Rotated by the same angles, the gradient of the input is g again.
      const gradient = { shape, data: await x.tensor.grad!.read() } as Read;
      expectClose(rotary(wide(gradient), 500).data, g.data, 8, "the gradient, turned");
    });
  });

  describe("pooling", () => {
    // Channels in groups of four, and single channels.
    const shapes = [
      { shape: [2, 33, 31, 12], size: 3, stride: 2, padding: 1 },
      { shape: [3, 40, 37, 3], size: 2, stride: 1, padding: 1 },
      { shape: [1, 29, 30, 20], size: 3, stride: 4, padding: 0 },
    ];

    it.each(shapes)("of $shape, size $size, stride $stride, padding $padding", async ({ shape, ...options }) => {
      const { size, stride, padding } = options;
      const x = input(shape, 1);
      const [, height, width, channels] = shape as [number, number, number, number];
      const [outHeight, outWidth] = [windows(height, size, options), windows(width, size, options)];
      /** Calls f with each output's index and the index of each number in its window. */
      const forPairs = (f: (output: number, at: number) => void) => {
        for (let image = 0; image < shape[0]!; image++)
          for (let row = 0; row < outHeight; row++)
            for (let column = 0; column < outWidth; column++)
              for (
                let y = Math.max(0, row * stride - padding);
                y < Math.min(height, row * stride - padding + size);
                y++
              )
                for (
                  let z = Math.max(0, column * stride - padding);
                  z < Math.min(width, column * stride - padding + size);
                  z++
                )
                  for (let c = 0; c < channels; c++)
                    f(
                      ((image * outHeight + row) * outWidth + column) * channels + c,
                      ((image * height + y) * width + z) * channels + c,
                    );
      };

      const largest = t.maxPool2d(x.tensor, options).keep();
      const maxima = maxPool2d(wide(x), size, options).data;
      expectClose(await largest.read(), maxima, 0, "the largest");
      const g = backward(largest, 2);
      const [ofLargest, taken] = [values(shape, () => 0), new Uint8Array(maxima.length)];
      forPairs((output, at) => {
        if (taken[output] || x.data[at] !== maxima[output]) return;
        taken[output] = 1;
        ofLargest.data[at]! += g.data[output]!;
      });
      expectClose(await x.tensor.grad!.read(), ofLargest.data, 4, "the gradient of the largest");

      x.tensor.zeroGrad();
      const average = t.averagePool2d(x.tensor, options).keep();
      expectClose(await average.read(), averagePool2d(wide(x), size, options).data, 4, "the average");
      const h = backward(average, 3);
      const ofAverage = values(shape, () => 0);
      forPairs((output, at) => {
        ofAverage.data[at]! += h.data[output]! / size ** 2;
      });
      expectClose(await x.tensor.grad!.read(), ofAverage.data, 4, "the gradient of the average");
    });
  });

  it("binaryCrossEntropy with repeated weights of the positive class", async () => {
    const shape = [13_001, 3];
    const x = input(shape, 1);
    const targets = labelsOf(elements(shape), 2, 2);
    const [positives, weights] = [input([3], 3, 1.5), input(shape, 4, 1.5)];
    const losses = t
      .binaryCrossEntropy(x.tensor, t.tensor(device, Float32Array.from(targets), shape), {
        posWeight: positives.tensor.detach(),
        weights: weights.tensor.detach(),
        reduction: "none",
      })
      .keep();
    const g = backward(losses, 5);
    const softplus = (z: number) => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
    const sigmoid = (z: number) => 1 / (1 + Math.exp(-z));
    const weightOf = (i: number) => weights.data[i]! * (targets[i] === 1 ? positives.data[i % 3]! : 1);
    const signed = (i: number) => (targets[i] === 1 ? -x.data[i]! : x.data[i]!);
    const expected = values(shape, (i) => weightOf(i) * softplus(signed(i)));
    expectClose(await losses.read(), expected.data, 8, "the losses");
    const gradient = values(shape, (i) => g.data[i]! * weightOf(i) * sigmoid(signed(i)) * (targets[i] === 1 ? -1 : 1));
    expectClose(await x.tensor.grad!.read(), gradient.data, 8, "the gradient");
  });
});
