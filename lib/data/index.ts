/**
 * Datasets from files or arrays, and batches of them: splitting, shuffling, augmentation, prefetching, tokens.
 *
 * @module
 */

export type { PreprocessingOptions } from "../preprocessing-options.js";
export type { AugmentOptions, Batch, BatchOptions, BatchSource, IterationOptions } from "./batch.js";
export { cifar10 } from "./cifar10.js";
export {
  type CsvOptions,
  csv,
  parquet,
  type TableData,
  type TableKind,
  type TableOptions,
} from "./csv.js";
export { ArrayDataset, type SplitOptions } from "./dataset.js";
export type { ImageFit } from "./decode-image.js";
export type { Split, SplitChoice } from "./files.js";
export { type FromArrays, fromArrays, type Nested } from "./from-arrays.js";
export { type FromIterableOptions, fromIterable, type GivenBatch, type GivenBatches } from "./from-iterable.js";
export { type IdxOptions, idx } from "./idx.js";
export type { ImageSplit } from "./image-folder.js";
export { type ImagesOptions, images } from "./images.js";
export type {
  ClassLabels,
  Dataset,
  FloatLabels,
  InputArray,
  Inputs,
  InputType,
  ItemLabels,
  Labels,
} from "./items.js";
export { fashionMnist, type MnistOptions, mnist } from "./mnist.js";
export { type IdxFile, readIdx } from "./read-idx.js";
export type { Statistics } from "./statistics.js";
export type {
  CategoryColumn,
  ClassTarget,
  NumberColumn,
  NumberTarget,
  TableEncoding,
  TableFormat,
} from "./table.js";
export { decodeOutputs, encodeRows, type RowPrediction, type TableObject } from "./table-rows.js";
export type { TokenBatchOptions } from "./token-batches.js";
export type { SplitInfo, TokenFolder, TokenSplit, TokenType } from "./token-folder.js";
export { readTokenFolder, tokenSplits } from "./token-folder.js";
export { type TokenizeOptions, type TokenizeProgress, tokenize } from "./tokenize.js";
export {
  specOf,
  type TokenDecoder,
  type Tokenizer,
  type TokenizerSpec,
  tokenizerName,
  tokenizerNames,
  tokenizerOf,
} from "./tokenizer.js";
export { type HuggingFaceTokenizer, readTokenizer } from "./tokenizer-json.js";
export { TokenDataset, type TokensOptions, tokens } from "./tokens.js";
