// The storage types of a step's tensors: every combination that an optimizer offers.
import type { DataType } from "#lib/native/index.js";

export interface Storage {
  readonly title: string;
  /** Type of the parameters and of their gradients. */
  readonly dtype: DataType;
  readonly options: {
    readonly masterWeights?: boolean;
    readonly momentType?: "float32" | "bfloat16";
    readonly seed?: number;
  };
}

export const storages: readonly Storage[] = (["float32", "bfloat16"] as const).flatMap((momentType) => [
  { title: `float32, ${momentType} moments`, dtype: "float32", options: { momentType, seed: 7 } },
  { title: `bfloat16 with masters, ${momentType} moments`, dtype: "bfloat16", options: { momentType, seed: 7 } },
  {
    title: `bfloat16 without masters, ${momentType} moments`,
    dtype: "bfloat16",
    options: { momentType, masterWeights: false, seed: 7 },
  },
]);
