import { describe, expect, it } from "vitest";
import { fromIterable, tokens } from "#lib/data/index.js";
import type { Device } from "#lib/native/index.js";
import * as nn from "#lib/nn/index.js";
import * as t from "#lib/tensor/index.js";
import { evaluate } from "#lib/train/index.js";
import { tokenFolder } from "../data/support/corpus.js";
import { temporaryFolders } from "../support/folders.js";
import { labelsOf, numbers } from "../support/numbers.js";
import { device } from "./support/runs.js";

const folder = temporaryFolders();
const vocabulary = 7;

/** Predicts the next token from the current one. The logits are a row of a table. */
class Bigram extends nn.Module {
  readonly table: nn.Parameter;

  constructor(on: Device) {
    super();
    this.table = new nn.Parameter(t.tensor(on, numbers(vocabulary * vocabulary, 3), [vocabulary, vocabulary]));
  }

  forward(ids: t.Tensor): t.Tensor {
    return t.embedding(ids, this.table);
  }
}

/** Loss and accuracy computed directly in float64, over pairs of a token and its successor. */
function byTheBook(pairs: readonly (readonly [number, number])[]): { loss: number; accuracy: number } {
  const table = numbers(vocabulary * vocabulary, 3);
  let [loss, right] = [0, 0];
  for (const [token, next] of pairs) {
    const row = Array.from(table.subarray(token * vocabulary, (token + 1) * vocabulary));
    loss += Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0)) - row[next]!;
    right += row.indexOf(Math.max(...row)) === next ? 1 : 0;
  }
  return { loss: loss / pairs.length, accuracy: right / pairs.length };
}

const pairsIn = (ids: ArrayLike<number>, count: number) =>
  Array.from({ length: count }, (_, i) => [ids[i]!, ids[i + 1]!] as const);

const options = { loss: nn.crossEntropy, prepare: (x: t.Tensor) => x };

describe("evaluating a language model", () => {
  it("gives nats per token and the share of correct predictions over all whole windows", async () => {
    const on = await device();
    const ids = labelsOf(120, 1, vocabulary);
    const path = tokenFolder(folder(), { test: ids }, { vocabulary });
    const text = await tokens(path, { context: 9, split: "test" });
    const model = new Bigram(on);
    // Thirteen windows of nine tokens. The last batch is short, and two tokens belong to no window.
    const source = text.batches({ size: 4 });
    const result = await evaluate(source, { ...options, model, device: on });
    await source.close();
    const expected = byTheBook(pairsIn(ids, 117));
    expect(result.items).toBe(13);
    expect(result.loss).toBeCloseTo(expected.loss, 6);
    expect(result.accuracy).toBeCloseTo(expected.accuracy, 12);
  });

  it("accepts windows from a custom iterable", async () => {
    const on = await device();
    const ids = labelsOf(40, 2, vocabulary);
    const batch = (from: number, size: number) => ({
      inputs: { data: ids.slice(from, from + 6 * size), shape: [size, 6] },
      labels: { data: ids.slice(from + 1, from + 6 * size + 1), shape: [size, 6] },
    });
    const source = fromIterable([batch(0, 4), batch(24, 1)]);
    const result = await evaluate(source, { ...options, model: new Bigram(on), device: on });
    const expected = byTheBook(pairsIn(ids, 30));
    expect(result.items).toBe(5);
    expect(result.loss).toBeCloseTo(expected.loss, 6);
    expect(result.accuracy).toBeCloseTo(expected.accuracy, 12);
  });

  it("leaves no tensor on the device", async () => {
    const on = await device();
    const path = tokenFolder(folder(), { train: labelsOf(200, 1, vocabulary) }, { vocabulary });
    const text = await tokens(path, { context: 9 });
    const model = new Bigram(on);
    const before = on.memory().tensors;
    const source = text.batches({ size: 4 });
    await evaluate(source, { ...options, model, device: on });
    await source.close();
    expect(on.memory().tensors).toBe(before);
  });
});
