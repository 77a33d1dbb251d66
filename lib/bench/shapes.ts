import { invalidArgument, StepsizeError } from "../errors.js";
import { readJsonFile } from "../read-file.js";
import { atLeastOne, list, where } from "../schema.js";

export type Shape = readonly number[];

/** The tensors of one measurement. */
export interface Workload {
  readonly name: string;
  readonly shapes: readonly Shape[];
}

export function elementsOf(shape: Shape): number {
  return shape.reduce((product, size) => product * size, 1);
}

export function totalElements({ shapes }: Workload): number {
  return shapes.reduce((sum, shape) => sum + elementsOf(shape), 0);
}

/** Memory for a dozen lists of so many elements must fit into a machine that somebody has. */
const mostElements = 1e11;
const mostTensors = 65_536;

/**
 * A workload of equal tensors: `1e6` is one of a million elements, `1000x1e4` a thousand of ten thousand.
 * @throws StepsizeError `invalid-argument`
 */
export function workloadOfSize(text: string): Workload {
  const parts = text.trim().split(/[x×]/);
  const [tensors, elements] = (parts.length === 1 ? ["1", ...parts] : parts).map((part) =>
    /^[\d.]+(e\d+)?$/i.test(part.trim()) ? Number(part) : Number.NaN,
  ) as [number, number];
  const whole = [tensors, elements].every((number) => Number.isSafeInteger(number) && number >= 1);
  if (parts.length > 2 || !whole || tensors > mostTensors || tensors * elements > mostElements)
    invalidArgument("--sizes", "elements such as 1e6, or tensors x elements such as 1000x1e4", text);
  return { name: `${tensors} × ${short(elements)}`, shapes: Array.from({ length: tensors }, () => [elements]) };
}

/** A count with few digits: 10M, 10k, 123,456. */
function short(count: number): string {
  for (const [unit, letter] of [
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ] as const)
    if (count >= unit && count % (unit / 10) === 0) return `${count / unit}${letter}`;
  return count.toLocaleString("en-US");
}

/** The parameters of models that everybody knows. */
export const namedShapes: Readonly<Record<string, () => Shape[]>> = {
  resnet50,
  // 35.3M: the vocabulary of GPT-NeoX, whose embedding is also the last layer.
  "olmo-36m": () => decoder({ vocabulary: 50_304, tied: true, width: 384, hidden: 1024, layers: 9 }),
  // 302.0M: the vocabulary of OLMo 2.
  "olmo-300m": () => decoder({ vocabulary: 100_278, tied: true, width: 1024, hidden: 2688, layers: 16 }),
};

/**
 * A workload by the name of its model, or from a JSON file: an array of shapes, each an array of sizes.
 * @throws StepsizeError `invalid-argument` for what is neither; `not-found`; `invalid-file` for a file that holds
 * something else
 */
export async function workloadOfShapes(text: string): Promise<Workload> {
  const named = namedShapes[text];
  if (named) return { name: text, shapes: named() };
  const names = Object.keys(namedShapes).join(", ");
  if (!/\.json$/i.test(text)) invalidArgument("--shapes", `one of ${names}, or a .json file of shapes`, text);
  return { name: text.replace(/^.*\//, ""), shapes: await readShapes(text) };
}

const size = where(atLeastOne, "a size of at most 2^40", (value) => value <= 2 ** 40);
const shapesInFile = list(list(size, { words: "a shape of at most 6 sizes", most: 6 }), {
  words: `an array of shapes such as [[64, 3, 7, 7], [64]], at most ${mostTensors} of them`,
  least: 1,
  most: mostTensors,
});

async function readShapes(path: string): Promise<readonly Shape[]> {
  const shapes = await readJsonFile(path, shapesInFile).catch((error: unknown) => {
    if (!(error instanceof StepsizeError)) throw error;
    throw new StepsizeError(error.code, `--shapes: ${error.message}`, { cause: error });
  });
  if (totalElements({ name: "", shapes }) > mostElements)
    throw new StepsizeError("invalid-file", `--shapes: ${path}: has more than ${mostElements} elements`);
  return shapes;
}

/** As torchvision's: a convolution without bias and a scale and a shift after each, four stages of bottlenecks. */
function resnet50(): Shape[] {
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

/** As OLMo 2's: no biases, a gated feed-forward layer, norms of queries and keys and behind both parts of a layer. */
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
