import { StepsizeError } from "../errors.js";
import { zip } from "../lookup.js";
import type { Attributes } from "../native/addon.js";
import type { Device } from "../native/index.js";
import type { Module } from "../nn/index.js";
import { infer } from "../nn/predict.js";
import { type Tensor, zeros } from "../tensor/index.js";
import { observed } from "../tensor/tensor.js";

/** An operation that a model called. The tensors are disposed; their shapes and types remain. */
export interface TracedOperation {
  readonly name: string;
  readonly inputs: readonly Tensor[];
  readonly attributes: Attributes;
  readonly results: readonly Tensor[];
  /** Path of the module whose `forward` called it; empty for the model itself. */
  readonly module: string;
}

/** The operations of a forward pass, from its input to its output. */
export interface Trace {
  readonly items: number;
  readonly input: Tensor;
  readonly output: Tensor;
  readonly operations: readonly TracedOperation[];
  /** Values of all other tensors that operations read. The reads were enqueued during the pass. */
  readonly constants: ReadonlyMap<Tensor, Promise<ArrayLike<number>>>;
}

/** What a forward pass starts with. */
export interface TraceInput {
  readonly device: Device;
  /** Shape of one item. */
  readonly shape: readonly number[];
  readonly dtype: "float32" | "int32" | "uint8";
  readonly prepare: (raw: Tensor) => Tensor;
}

/** Runs a forward pass for a number of items that are all zero, in evaluation mode, and records its operations. */
export function trace(model: Module, items: number, { device, shape, dtype, prepare }: TraceInput): Trace {
  const operations: TracedOperation[] = [];
  const constants = new Map<Tensor, Promise<ArrayLike<number>>>();
  const input = zeros(device, [items, ...shape], dtype);
  const known = new Set<Tensor>([input]);
  const calls = new ModuleCalls(model);
  try {
    const output = observed(
      (name, inputs, attributes, results) => {
        // A tensor that is filled with a value becomes a constant when it is read.
        if (name === "fill" && inputs.every((destination) => !known.has(destination))) return;
        for (const tensor of inputs) {
          if (known.has(tensor)) continue;
          known.add(tensor);
          const values = tensor.read();
          // If the trace fails, the values are never awaited.
          values.catch(() => {});
          constants.set(tensor, values);
        }
        for (const result of results) known.add(result);
        operations.push({ name, inputs, attributes, results, module: calls.current });
      },
      () => infer(model, input, prepare),
    );
    output.dispose();
    if (output !== input && !operations.some(({ results }) => results.includes(output)))
      throw new StepsizeError("unsupported", "exportOnnx: expected outputs that are computed from the inputs");
    return { items, input, output, operations, constants };
  } finally {
    calls.end();
    input.dispose();
  }
}

/** Follows which module's `forward` runs. */
class ModuleCalls {
  readonly #stack: string[] = [];
  readonly #restore: (() => void)[] = [];

  constructor(model: Module) {
    for (const [path, module] of model.namedModules()) {
      if (!Object.isExtensible(module)) continue;
      const { forward } = module;
      const isOwn = Object.hasOwn(module, "forward");
      module.forward = (...inputs) => {
        this.#stack.push(path);
        try {
          return forward.apply(module, inputs);
        } finally {
          this.#stack.pop();
        }
      };
      this.#restore.push(() => {
        if (isOwn) module.forward = forward;
        else Reflect.deleteProperty(module, "forward");
      });
    }
  }

  /** Path of the innermost module that runs. */
  get current(): string {
    return this.#stack.at(-1) ?? "";
  }

  /** Removes the changes to the modules. */
  end(): void {
    for (const restore of this.#restore) restore();
  }
}

/** A size of an axis: a number, or a multiple of the number of items. */
export type Size = number | { readonly perItem: number };

/**
 * Returns the sizes of all tensors of a trace. They are found by a second trace with another number of items.
 *
 * @throws StepsizeError `unsupported` if the traces differ in more than the number of items
 */
export function sizesIn(first: Trace, second: Trace): ReadonlyMap<Tensor, readonly Size[]> {
  const sizes = new Map<Tensor, readonly Size[]>();
  if (first.operations.length !== second.operations.length) refuseDependence("", "the number of operations");
  sizes.set(first.input, [{ perItem: 1 }, ...first.input.shape.slice(1)]);
  for (const [{ name, module, ...operation }, other] of zip(first.operations, second.operations)) {
    const attributes = [operation, other].map((one) => JSON.stringify(one.attributes));
    const isSame = name === other.name && operation.inputs.length === other.inputs.length;
    if (!isSame || attributes[0] !== attributes[1]) refuseDependence(module, `the operation ${name}`);
    const all = [zip(operation.inputs, other.inputs), zip(operation.results, other.results)];
    for (const pairs of all)
      for (const [tensor, partner] of pairs) {
        const found = sizesOf(tensor, first.items, partner, second.items);
        const isConstant = found?.every((size) => typeof size === "number");
        if (!found || (first.constants.has(tensor) && !isConstant))
          refuseDependence(module, `the shape of a tensor of ${name}`);
        else sizes.set(tensor, found);
      }
  }
  return sizes;
}

/** Returns the sizes of a tensor; `undefined` if one is neither fixed nor a multiple of the number of items. */
function sizesOf(first: Tensor, items: number, second: Tensor, otherItems: number): readonly Size[] | undefined {
  if (first.shape.length !== second.shape.length) return undefined;
  const sizes: Size[] = [];
  for (const [size, other] of zip(first.shape, second.shape)) {
    const perItem = size / items;
    if (size === other) sizes.push(size);
    else if (other === perItem * otherItems) sizes.push({ perItem });
    else return undefined;
  }
  return sizes;
}

function refuseDependence(module: string, what: string): never {
  const place = module === "" ? "the model" : module;
  throw new StepsizeError("unsupported", `exportOnnx: ${place}: ${what} depends on the number of items`);
}
