import { invalidArgument, StepsizeError } from "../errors.js";
import type { DataType } from "../native/index.js";
import { cast, copy, noGrad, Tensor } from "../tensor/index.js";

/** What a model's parameters and activations are stored in; computed is in float32 always. */
export type Precision = "float32" | "bf16";

const typeOf = { float32: "float32", bf16: "bfloat16" } as const satisfies Record<Precision, DataType>;

function shareMemory(values: Tensor) {
  return values.device.native.reshape(values.handle, values.shape);
}

/** A tensor that is learned. Created by layers; its name is its path in the model, such as `blocks.0.conv1.weight`. */
export class Parameter extends Tensor {
  /** The path inside the model it was last listed from; empty before. */
  name = "";

  /** Takes over the memory of `values`, which is not to be used any more. */
  constructor(values: Tensor) {
    super(values.device, shareMemory(values));
    values.dispose();
    this.requiresGrad = true;
    this.keep();
  }

  /** @internal Changes the type of the values, and forgets the gradient, which had the old one. */
  retype(dtype: DataType): void {
    if (dtype === this.dtype) return;
    this.zeroGrad();
    const values = noGrad(() => cast(this, dtype));
    this.handle.dispose();
    Object.assign(this, { handle: shareMemory(values), dtype });
    values.dispose();
  }
}

/** A tensor that belongs to a module and is saved with it, but is not learned: a running mean. */
export class Buffer extends Tensor {
  /** Takes over the memory of `values`, which is not to be used any more. */
  constructor(values: Tensor) {
    super(values.device, shareMemory(values));
    values.dispose();
    this.keep();
  }
}

/**
 * A piece of a model: parameters, buffers, other modules, and a function of tensors.
 *
 * Write your own by extending it: whatever is assigned to a property (a {@link Parameter}, a {@link Buffer}, a module,
 * an array of modules) is found, trained, saved and switched between training and evaluation.
 */
export abstract class Module {
  /** Whether layers behave as in training (dropout drops, batch norm uses the batch); see {@link train}, {@link eval}. */
  training = true;

  /** From inputs to outputs. */
  abstract forward(x: Tensor): Tensor;

  /** All parameters by path, in the order of their assignment; also sets their names. */
  namedParameters(): Map<string, Parameter> {
    const found = new Map<string, Parameter>();
    visit(this, "", (path, member) => {
      if (!(member instanceof Parameter)) return;
      member.name = path;
      found.set(path, member);
    });
    return found;
  }

  /** All parameters, with their names set. */
  parameters(): Parameter[] {
    return [...this.namedParameters().values()];
  }

  /** All modules inside this one, itself first. */
  modules(): Module[] {
    const found: Module[] = [this];
    visit(this, "", (_, member) => {
      if (member instanceof Module) found.push(member);
    });
    return found;
  }

  /** Switches to training, or with `false` to evaluation. Returns the module. */
  train(training = true): this {
    for (const module of this.modules()) module.training = training;
    return this;
  }

  /** Switches to evaluation. Returns the module. */
  eval(): this {
    return this.train(false);
  }

  /**
   * Stops learning: gradients are neither computed nor applied. Returns the module.
   *
   * An optimizer refuses a parameter that is frozen when it is made. Give it the others
   * (`model.parameters().filter((p) => p.requiresGrad)`), or freeze after it is made what is to be learned later.
   */
  freeze(frozen = true): this {
    for (const parameter of this.parameters()) parameter.requiresGrad = !frozen;
    // A gradient from before would still be applied.
    if (frozen) this.zeroGrad();
    return this;
  }

  /**
   * Changes what all parameters are stored in, and with them activations and gradients: `bf16` takes half of float32's
   * memory and has 8 significant bits. Sums, statistics and losses stay float32, and so do buffers. Call it before the
   * optimizer is made, which then keeps float32 masters. Returns the module.
   *
   * @throws StepsizeError `invalid-argument` for another name
   */
  setPrecision(precision: Precision): this {
    if (!Object.hasOwn(typeOf, precision)) invalidArgument("precision", Object.keys(typeOf).join(" or "), precision);
    for (const parameter of this.parameters()) parameter.retype(typeOf[precision]);
    return this;
  }

  /** What the parameters are stored in. */
  get precision(): Precision {
    return this.parameters()[0]?.dtype === "bfloat16" ? "bf16" : "float32";
  }

  /** Forgets the gradients, and gives back their memory. */
  zeroGrad(): void {
    for (const parameter of this.parameters()) parameter.zeroGrad();
  }

  /** Parameters and buffers by path. The tensors themselves, not copies. */
  stateDict(): Map<string, Tensor> {
    const found = new Map<string, Tensor>();
    visit(this, "", (path, member) => {
      if (member instanceof Parameter || member instanceof Buffer) found.set(path, member);
    });
    return found;
  }

  /**
   * Copies values into parameters and buffers.
   *
   * @throws StepsizeError `invalid-file` that lists what is missing, what is left over and what has another shape;
   * nothing has changed then.
   */
  loadStateDict(state: ReadonlyMap<string, Tensor>): void {
    this.checkStateDict(state);
    noGrad(() => {
      for (const [path, tensor] of this.stateDict()) copy(tensor, state.get(path) as Tensor);
    });
  }

  /** @internal Throws what {@link loadStateDict} would throw, and changes nothing. */
  checkStateDict(state: ReadonlyMap<string, Tensor>): void {
    const problems = differences(this.stateDict(), state);
    if (problems.length > 0)
      throw new StepsizeError("invalid-file", `the state does not fit the model: ${problems.join("; ")}`);
  }

  /**
   * Counters of modules that draw random numbers, by path: saved with a checkpoint so that a resumed run draws what the
   * uninterrupted one would have drawn.
   */
  counters(): Record<string, number> {
    const found: Record<string, number> = {};
    for (const [path, module] of countingModules(this)) found[path] = module.counter;
    return found;
  }

  /** Restores {@link counters}. */
  loadCounters(counters: Readonly<Record<string, number>>): void {
    for (const [path, module] of countingModules(this)) module.counter = counters[path] ?? 0;
  }

  /** Gives back the memory of all parameters, buffers and gradients. */
  dispose(): void {
    this.zeroGrad();
    for (const tensor of this.stateDict().values()) tensor.dispose();
  }
}

/** A module with a number that advances whenever it draws. */
interface Counting {
  counter: number;
}

function countingModules(root: Module): [string, Counting][] {
  const found: [string, Counting][] = [];
  const add = (path: string, module: Module) => {
    if ("counter" in module && typeof module.counter === "number") found.push([path, module as Counting]);
  };
  add("", root);
  visit(root, "", (path, member) => {
    if (member instanceof Module) add(path, member);
  });
  return found;
}

/** What can be reached on several paths, such as a shared weight, is found once: on the first of them. */
function visit(
  module: Module,
  prefix: string,
  found: (path: string, member: Tensor | Module) => void,
  seen = new Set<unknown>([module]),
): void {
  for (const [name, value] of Object.entries(module)) {
    const members = Array.isArray(value)
      ? value.map((part, i) => [`${name}.${i}`, part] as const)
      : [[name, value] as const];
    for (const [memberName, member] of members) {
      if (!(member instanceof Tensor || member instanceof Module) || seen.has(member)) continue;
      seen.add(member);
      const path = `${prefix}${memberName}`;
      found(path, member);
      if (member instanceof Module) visit(member, `${path}.`, found, seen);
    }
  }
}

/** What keeps `state` from fitting `own`, in words. */
function differences(own: ReadonlyMap<string, Tensor>, state: ReadonlyMap<string, Tensor>): string[] {
  const shapeOf = (tensor: Tensor) => `${tensor.dtype}[${tensor.shape.join(",")}]`;
  const problems: string[] = [];
  for (const [path, tensor] of own) {
    const given = state.get(path);
    if (!given) problems.push(`${path} is missing`);
    else if (shapeOf(given) !== shapeOf(tensor))
      problems.push(`${path} is ${shapeOf(given)}, the model has ${shapeOf(tensor)}`);
  }
  for (const path of state.keys()) if (!own.has(path)) problems.push(`${path} is not part of the model`);
  return problems.length > 6 ? [...problems.slice(0, 5), `and ${problems.length - 5} more differences`] : problems;
}
