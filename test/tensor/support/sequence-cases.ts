// Random calls of the operations of a transformer; see cases.ts.
import fc from "fast-check";
import * as t from "#lib/tensor/index.js";
import { elements, type Values } from "../../support/reference.js";
import * as reference from "../../support/sequence-reference.js";
import { type Call, distinctNumbers, numbersOf, size } from "./call.js";

const embedding = fc
  .record({ ids: fc.array(fc.constantFrom(0, 1, 2, 3), { maxLength: 2 }), rows: size, width: size })
  .chain(({ ids, rows, width }) => {
    const count = elements(ids);
    return fc
      .tuple(numbersOf([rows, width]), fc.array(fc.nat({ max: rows - 1 }), { minLength: count, maxLength: count }))
      .map(([table, picked]) => ({
        title: `embedding of [${picked}] as [${ids}] in [${table.shape}]`,
        inputs: [table],
        compute: (x: t.Tensor) => t.embedding(t.tensor(x.device, Int32Array.from(picked), ids), x),
        reference: (x: Values) => reference.embedding(picked, ids, x),
      }));
  });

// Rows of one number have no variance, and rows of two that nearly agree magnify every rounding error.
const rowShapes = fc
  .tuple(fc.array(fc.constantFrom(0, 1, 2, 5), { maxLength: 3 }), fc.constantFrom(3, 4, 8, 9, 17, 33, 64))
  .map(([rows, columns]) => [...rows, columns])
  .filter((sizes) => elements(sizes) <= 1000);
const epsilon = fc.constantFrom(1e-3, 0.1);

const layerNorm = fc.tuple(rowShapes, epsilon, fc.boolean()).chain(([sizes, epsilon, learned]) => {
  const columns = [sizes.at(-1)!];
  return fc.tuple(distinctNumbers(sizes), numbersOf(columns, 2), numbersOf(columns)).map(([x, gamma, beta]) => ({
    title: `layerNorm of [${sizes}], epsilon ${epsilon}${learned ? ", with gamma and beta" : ""}`,
    inputs: learned ? [x, gamma, beta] : [x],
    compute: (v: t.Tensor, ...[g, b]: t.Tensor[]) => t.layerNorm(v, g && b && { gamma: g, beta: b }, { epsilon }),
    reference: (v: Values, ...[g, b]: Values[]) => reference.layerNorm(v, g, b, epsilon),
  }));
});

const rmsNorm = fc.tuple(rowShapes, epsilon, fc.boolean()).chain(([sizes, epsilon, learned]) =>
  fc.tuple(distinctNumbers(sizes), numbersOf([sizes.at(-1)!], 2)).map(([x, gamma]) => ({
    title: `rmsNorm of [${sizes}], epsilon ${epsilon}${learned ? ", with gamma" : ""}`,
    inputs: learned ? [x, gamma] : [x],
    compute: (v: t.Tensor, ...[g]: t.Tensor[]) => t.rmsNorm(v, g, { epsilon }),
    reference: (v: Values, ...[g]: Values[]) => reference.rmsNorm(v, g, epsilon),
  })),
);

const heads = fc
  .record({
    batch: fc.constantFrom(0, 1, 2),
    length: fc.constantFrom(0, 1, 2, 3, 5),
    heads: fc.constantFrom(1, 2, 3),
    size: fc.constantFrom(2, 4, 6, 16, 18),
  })
  .map(({ batch, length, heads, size }) => [batch, length, heads, size]);

const rotary = fc.tuple(heads, fc.constantFrom(1e4, 5e5, 1.5)).chain(([sizes, base]) =>
  numbersOf(sizes).map((x) => ({
    title: `rotary of [${sizes}], base ${base}`,
    inputs: [x],
    compute: (v: t.Tensor) => t.rotary(v, { base }),
    reference: (v: Values) => reference.rotary(v, base),
  })),
);

const attention = fc.tuple(heads, fc.constantFrom(undefined, 1, 3)).chain(([sizes, scale]) =>
  fc.tuple(numbersOf(sizes), numbersOf(sizes), numbersOf(sizes)).map((inputs) => ({
    title: `causalAttention of [${sizes}], scale ${scale}`,
    inputs,
    compute: (q: t.Tensor, k: t.Tensor, v: t.Tensor) =>
      t.causalAttention(q, k, v, scale === undefined ? {} : { scale }),
    reference: (q: Values, k: Values, v: Values) =>
      reference.causalAttention(q, k, v, scale ?? 1 / Math.sqrt(sizes[3]!)),
  })),
);

const swiglu = fc
  .array(fc.constantFrom(0, 1, 3, 17), { maxLength: 3 })
  // Finite differences for n numbers take n² evaluations.
  .filter((sizes) => elements(sizes) <= 300)
  .chain((sizes) => fc.tuple(numbersOf(sizes, 2), numbersOf(sizes)))
  .map(([gate, up]) => ({
    title: `swiglu of [${gate.shape}]`,
    inputs: [gate, up],
    compute: t.swiglu,
    reference: reference.swiglu,
  }));

export const sequenceCalls: readonly [string, fc.Arbitrary<Call>][] = [
  ["embedding", embedding],
  ["layerNorm", layerNorm],
  ["rmsNorm", rmsNorm],
  ["rotary", rotary],
  ["causalAttention", attention],
  ["swiglu", swiglu],
];
