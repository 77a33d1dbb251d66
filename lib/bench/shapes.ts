import { invalidArgument, StepsizeError } from "../errors.js";
import { readJsonFile } from "../read-file.js";
import { atLeastOne, list, where } from "../schema.js";
import { elementCount } from "../shapes.js";

/** Sizes of a tensor's axes. */
export type Shape = readonly number[];

/** The tensors of one measurement. */
export interface Workload {
  readonly name: string;
  readonly shapes: readonly Shape[];
}

/** Returns the number of elements of all tensors of a workload. */
export function totalElements({ shapes }: Workload): number {
  return shapes.reduce((sum, shape) => sum + elementCount(shape), 0);
}

/** Largest number of elements. A dozen lists of them fit into the memory of large machines. */
const maxElements = 1e11;
const maxTensors = 65_536;

/**
 * Parses a workload of equal tensors: `1e6` is one tensor of 1e6 elements, `1000x1e4` is 1000 tensors of 1e4 elements.
 * @throws StepsizeError `invalid-argument` for other text or too many elements
 */
export function workloadOfSize(text: string): Workload {
  const parts = text.trim().split(/[x×]/);
  const [tensors = Number.NaN, elements = Number.NaN] = (parts.length === 1 ? ["1", ...parts] : parts).map((part) =>
    /^[\d.]+(e\d+)?$/i.test(part.trim()) ? Number(part) : Number.NaN,
  );
  const areCounts = [tensors, elements].every((number) => Number.isSafeInteger(number) && number >= 1);
  if (parts.length > 2 || !areCounts || tensors > maxTensors || tensors * elements > maxElements)
    invalidArgument("--sizes", "elements such as 1e6, or tensors x elements such as 1000x1e4", text);
  return { name: `${tensors} × ${short(elements)}`, shapes: Array.from({ length: tensors }, () => [elements]) };
}

/** Formats a count with few digits: 10M, 10k, 123,456. */
function short(count: number): string {
  for (const [unit, letter] of [
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ] as const)
    if (count >= unit && count % (unit / 10) === 0) return `${count / unit}${letter}`;
  return count.toLocaleString("en-US");
}

/** The shapes of the parameters of well-known models, by name. */
export const namedShapes: Readonly<Record<string, () => Shape[]>> = {
  resnet50,
  // 35.3M: the vocabulary of GPT-NeoX, whose embedding is also the last layer.
  "olmo-36m": () => decoder({ vocabulary: 50_304, tied: true, width: 384, hidden: 1024, layers: 9 }),
  // 302.0M: the vocabulary of OLMo 2.
  "olmo-300m": () => decoder({ vocabulary: 100_278, tied: true, width: 1024, hidden: 2688, layers: 16 }),
};

/**
 * Returns the workload of a named model, or reads one from a JSON file with an array of shapes.
 * @throws StepsizeError `invalid-argument` if the text is neither a name nor a `.json` file; `not-found` if the file does
 * not exist; `invalid-file` if it has other contents
 */
export async function workloadOfShapes(text: string): Promise<Workload> {
  const named = namedShapes[text];
  if (named) return { name: text, shapes: named() };
  const names = Object.keys(namedShapes).join(", ");
  if (!/\.json$/i.test(text)) invalidArgument("--shapes", `one of ${names}, or a .json file of shapes`, text);
  return { name: text.replace(/^.*\//, ""), shapes: await readShapes(text) };
}

const size = where(atLeastOne, "a size of at most 2^40", (value) => value <= 2 ** 40);
const shapesInFile = list(list(size, { words: "a shape of at most 6 sizes", max: 6 }), {
  words: `an array of shapes such as [[64, 3, 7, 7], [64]], at most ${maxTensors} of them`,
  min: 1,
  max: maxTensors,
});

async function readShapes(path: string): Promise<readonly Shape[]> {
  const shapes = await readJsonFile(path, shapesInFile).catch((error: unknown) => {
    if (!(error instanceof StepsizeError)) throw error;
    throw new StepsizeError(error.code, `--shapes: ${error.message}`, { cause: error });
  });
  if (totalElements({ name: "", shapes }) > maxElements)
    throw new StepsizeError("invalid-file", `--shapes: ${path}: expected at most ${maxElements} elements, found more`);
  return shapes;
}

/** The parameters of torchvision's ResNet-50: convolutions without bias, each with a batch norm's scale and shift. */
export function resnet50(): Shape[] {
  const shapes: Shape[] = [];
  const convolution = (outputs: number, inputs: number, size: number) =>
    shapes.push([outputs, inputs, size, size], [outputs], [outputs]);
  convolution(64, 3, 7);
  let inputs = 64;
  for (const [width, blocks] of [
    [64, 3],
    [128, 4],
    [256, 6],
    [512, 3],
  ] as const)
    for (let block = 0; block < blocks; block++) {
      convolution(width, inputs, 1);
      convolution(width, width, 3);
      convolution(4 * width, width, 1);
      if (block === 0) convolution(4 * width, inputs, 1);
      inputs = 4 * width;
    }
  shapes.push([1000, inputs], [1000]);
  return shapes;
}

/**
 * The parameters of a decoder like OLMo 2: no biases, a gated feed-forward layer, norms of queries and keys, and a norm
 * after attention and after the feed-forward layer.
 */
function decoder(sizes: { vocabulary: number; tied: boolean; width: number; hidden: number; layers: number }): Shape[] {
  const { vocabulary, tied, width, hidden, layers } = sizes;
  const attention: Shape[] = [...Array.from({ length: 4 }, () => [width, width]), [width], [width]];
  const forward: Shape[] = [
    [hidden, width],
    [hidden, width],
    [width, hidden],
  ];
  const layer: Shape[] = [...attention, [width], ...forward, [width]];
  const embedding: Shape = [vocabulary, width];
  return [embedding, ...Array.from({ length: layers }, () => layer).flat(), [width], ...(tied ? [] : [embedding])];
}
