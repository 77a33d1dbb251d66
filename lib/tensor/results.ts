// The types of the results of operations, as the shape rules of the native code determine them.
import type { DataType } from "../data-type.js";
import type { Attributes } from "../native/addon.js";
import type { Tensor } from "./tensor.js";

/** @internal Inputs of an operation, the first of them with elements of the type `D`. */
export type Inputs<D extends DataType = DataType> = readonly [Tensor<D>, ...Tensor[]];

/** The type that the attribute `dtype` names. */
type Named<A> = A extends { readonly dtype: infer D extends DataType } ? D : DataType;

/** Results of the operations whose first result has not the type of the first input. */
interface Results<I extends Inputs, A> {
  readonly argmax: [Tensor<"int32">];
  readonly binaryCrossEntropy: [Tensor<"float32">];
  readonly cast: [Tensor<Named<A>>];
  readonly copy: [];
  readonly correctCount: [Tensor<"float32">];
  readonly crossEntropy: [
    losses: Tensor<"float32">,
    total: Tensor<"float32">,
    weight: Tensor<"float32">,
    average: Tensor<"float32">,
    maxima: Tensor<"float32">,
    inverseSums: Tensor<"float32">,
  ];
  readonly embedding: [Tensor<I[1]["dtype"]>];
  readonly embeddingGradient: [Tensor<I[1]["dtype"]>];
  readonly fill: [];
  readonly normal: [];
  readonly normalizeImages: [Tensor<Named<A>>];
  readonly uniform: [];
  readonly writeRow: [];
}

/** @internal Results of an operation with inputs `I` and attributes `A`. */
export type ResultsOf<
  Operation extends string,
  I extends Inputs,
  A extends Attributes | undefined,
> = Operation extends keyof Results<I, A> ? Results<I, A>[Operation] : [Tensor<I[0]["dtype"]>, ...Tensor[]];

/** @internal First result of an operation with inputs `I` and attributes `A`. */
export type ResultOf<Operation extends string, I extends Inputs, A extends Attributes | undefined> = ResultsOf<
  Operation,
  I,
  A
>[0];
