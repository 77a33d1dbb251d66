import { StepsizeError } from "../errors.js";
import { valueAt } from "../lookup.js";
import { elementCount } from "../shapes.js";
import { bfloat16Value } from "../tensor/bfloat16.js";
import type { Tensor } from "../tensor/index.js";
import { toTorchOrder } from "../tensor/torch-layout.js";
import type { Size, Trace, TracedOperation } from "./trace.js";

/** Types of tensors in the file. Floating-point numbers are float32 there. */
export type OnnxType = "float32" | "int32" | "int64" | "uint8";

/** An attribute of a node. Whole numbers are INT or INTS; `{ float }` is FLOAT. */
export type Attribute = number | readonly number[] | { readonly float: number };

/** A node of the graph. */
export interface OnnxNode {
  readonly operator: string;
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

/** A constant tensor. */
export interface OnnxTensor {
  readonly name: string;
  readonly type: OnnxType;
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | BigInt64Array | Uint8Array;
}

/** An input or output of the graph. */
export interface OnnxValue {
  readonly name: string;
  readonly type: OnnxType;
  /** Sizes of the axes; text is the name of a size that is not fixed. */
  readonly shape: readonly (number | string)[];
}

/** A graph that can be written to a file. */
export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly constants: readonly OnnxTensor[];
  readonly input: OnnxValue;
  readonly output: OnnxValue;
}

/** Names of a tensor's values in the graph, by their order of axes. */
interface Names {
  /** In the order of the tensor. */
  plain?: string;
  /** For images [N, height, width, channels]: [N, channels, height, width]. */
  channelsFirst?: string;
}

/** Returns the type in the file of tensors of a type here. */
function typeInFile({ dtype }: Tensor): OnnxType {
  return dtype === "int32" || dtype === "uint8" ? dtype : "float32";
}

/** Converts a trace to a graph. Images keep the order of axes that the operators need, so that few are transposed. */
export class GraphBuilder {
  readonly #nodes: OnnxNode[] = [];
  readonly #constants = new Map<string, OnnxTensor>();
  readonly #values = new Map<Tensor, Names>();
  readonly #used = new Set<string>(["input", "output"]);
  readonly #data: ReadonlyMap<Tensor, ArrayLike<number>>;
  readonly #paths: ReadonlyMap<Tensor, string>;
  readonly #sizes: ReadonlyMap<Tensor, readonly Size[]>;
  #module = "";

  /**
   * @param sizes sizes of all tensors
   * @param data values of all constants
   * @param paths names of constants that are part of the model
   */
  constructor(
    sizes: ReadonlyMap<Tensor, readonly Size[]>,
    data: ReadonlyMap<Tensor, ArrayLike<number>>,
    paths: ReadonlyMap<Tensor, string>,
  ) {
    this.#sizes = sizes;
    this.#data = data;
    this.#paths = paths;
  }

  /** Sets the module of the nodes that follow, which their names contain. */
  enter({ module }: TracedOperation): void {
    this.#module = module;
  }

  /** Adds a node with one output, and returns the name of this output. */
  add(operator: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>> = {}): string {
    const name = this.#unique(`${this.#module}/${operator}`);
    this.#nodes.push({ operator, name, inputs, outputs: [name], attributes });
    return name;
  }

  /** Adds a node with two outputs, and returns their names. */
  addPair(operator: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>>) {
    const name = this.#unique(`${this.#module}/${operator}`);
    const outputs = [`${name}.0`, `${name}.1`] as const;
    this.#nodes.push({ operator, name, inputs, outputs, attributes });
    return outputs;
  }

  /** Names the values of a tensor. */
  define(tensor: Tensor, names: Names): void {
    this.#values.set(tensor, names);
  }

  /** Gives a tensor the values of another one. */
  alias(tensor: Tensor, source: Tensor): void {
    // A constant gets its name before it is shared.
    if (!this.isChannelsFirst(source)) this.plain(source);
    this.#values.set(tensor, this.#namesOf(source));
  }

  /** Returns whether images have their channels first, so that operators in this order need no transposition. */
  isChannelsFirst(tensor: Tensor): boolean {
    return this.#values.get(tensor)?.channelsFirst !== undefined;
  }

  /** Returns the name of a tensor's values in its own order of axes. */
  plain(tensor: Tensor): string {
    const names = this.#namesOf(tensor);
    names.plain ??=
      names.channelsFirst === undefined
        ? this.#constant(tensor)
        : this.add("Transpose", [names.channelsFirst], { perm: [0, 2, 3, 1] });
    return names.plain;
  }

  /** Returns the name of the values of images [N, height, width, channels] as [N, channels, height, width]. */
  channelsFirst(tensor: Tensor): string {
    const names = this.#namesOf(tensor);
    names.channelsFirst ??= this.add("Transpose", [this.plain(tensor)], { perm: [0, 3, 1, 2] });
    return names.channelsFirst;
  }

  /** Returns the name of the weights of a convolution, as [outputs, inputs, height, width]. */
  convolutionWeights(tensor: Tensor): string {
    const names = this.#namesOf(tensor);
    const values = this.#data.get(tensor);
    if (!values) return this.channelsFirst(tensor);
    const { shape } = tensor;
    const [outputs = 0, height = 0, width = 0, inputs = 0] = shape;
    names.channelsFirst ??= this.#put(this.#nameOf(tensor), {
      type: "float32",
      shape: [outputs, inputs, height, width],
      data: Float32Array.from(toTorchOrder(Float32Array.from(floats(tensor, values)), shape, "convolution")),
    });
    return names.channelsFirst;
  }

  /** Returns the name of a constant with whole numbers. */
  whole(values: readonly number[]): string {
    const data = BigInt64Array.from(values, (value) => BigInt(value));
    return this.#shared(`whole[${values}]`, { type: "int64", shape: [values.length], data });
  }

  /** Returns the name of a constant with one number, of shape []. */
  number(value: number): string {
    return this.#shared(`number[${value}]`, { type: "float32", shape: [], data: Float32Array.of(value) });
  }

  /** Returns the name of a constant with many numbers. Constants of equal `key` have equal numbers. */
  numbers(key: string, shape: readonly number[], make: (index: number) => number): string {
    const data = () => Float32Array.from({ length: elementCount(shape) }, (_, i) => make(i));
    return this.#constants.has(key) ? key : this.#shared(key, { type: "float32", shape, data: data() });
  }

  /** Returns the sizes of a tensor's axes. */
  sizes(tensor: Tensor): readonly Size[] {
    return valueAt(this.#sizes, tensor);
  }

  /**
   * Returns a size that is the same for any number of items.
   * @throws StepsizeError `unsupported` if it is not
   */
  fixed(tensor: Tensor, axis: number): number {
    const size = this.sizes(tensor)[axis];
    if (typeof size === "number") return size;
    throw new StepsizeError("unsupported", `exportOnnx: ${this.#place()}: axis ${axis} depends on the number of items`);
  }

  /** Throws an error that names the module and an operation that cannot be exported. */
  refuse(name: string, why: string): never {
    throw new StepsizeError("unsupported", `exportOnnx: ${this.#place()}: the operation ${name} ${why}`);
  }

  /** Returns the graph. The input and the output are called `input` and `output`. */
  build({ input, output }: Pick<Trace, "input" | "output">): OnnxGraph {
    this.#module = "";
    const last = this.plain(output);
    const maker = this.#nodes.find(({ outputs }) => outputs.includes(last));
    // The output of a model that returns its input, or a constant, has no node.
    if (!maker)
      this.#nodes.push({ operator: "Identity", name: "Identity", inputs: [last], outputs: ["output"], attributes: {} });
    const renamed = (names: readonly string[]) => names.map((name) => (maker && name === last ? "output" : name));
    const nodes = this.#nodes.map((node) => ({
      ...node,
      inputs: renamed(node.inputs),
      outputs: renamed(node.outputs),
    }));
    const read = new Set(nodes.flatMap(({ inputs }) => inputs));
    return {
      nodes,
      constants: [...this.#constants.values()].filter(({ name }) => read.has(name)),
      input: { name: "input", type: typeInFile(input), shape: this.#shapeInFile(input) },
      output: { name: "output", type: typeInFile(output), shape: this.#shapeInFile(output) },
    };
  }

  #shapeInFile(tensor: Tensor): (number | string)[] {
    return this.sizes(tensor).map((size) => {
      if (typeof size === "number") return size;
      return size.perItem === 1 ? "batch" : `${size.perItem} batch`;
    });
  }

  #namesOf(tensor: Tensor): Names {
    const known = this.#values.get(tensor);
    if (known) return known;
    const names: Names = {};
    this.#values.set(tensor, names);
    return names;
  }

  #constant(tensor: Tensor): string {
    const values = valueAt(this.#data, tensor);
    const { shape } = tensor;
    const type = typeInFile(tensor);
    const data =
      type === "int32"
        ? Int32Array.from(values)
        : type === "uint8"
          ? Uint8Array.from(values)
          : Float32Array.from(floats(tensor, values));
    return this.#put(this.#nameOf(tensor), { type, shape, data });
  }

  #nameOf(tensor: Tensor): string {
    return this.#paths.get(tensor) ?? `${this.#module}/constant`;
  }

  #put(name: string, tensor: Omit<OnnxTensor, "name">): string {
    const unique = this.#unique(name);
    this.#constants.set(unique, { ...tensor, name: unique });
    return unique;
  }

  #shared(name: string, tensor: Omit<OnnxTensor, "name">): string {
    if (!this.#constants.has(name)) this.#constants.set(name, { ...tensor, name });
    return name;
  }

  #unique(name: string): string {
    let unique = name;
    for (let i = 1; this.#used.has(unique); i++) unique = `${name}_${i}`;
    this.#used.add(unique);
    return unique;
  }

  #place(): string {
    return this.#module === "" ? "the model" : this.#module;
  }
}

/** Returns the numbers of a tensor. The values of bfloat16 are bits. */
function floats({ dtype }: Tensor, values: ArrayLike<number>): ArrayLike<number> {
  return dtype === "bfloat16" ? Float32Array.from(values, bfloat16Value) : values;
}
