import { expectState } from "../arguments.js";
import { describe, invalidArgument, StepsizeError } from "../errors.js";
import { valueAt } from "../lookup.js";
import type { DataType } from "../native/index.js";
import { shown } from "../quoting.js";
import { isOfAnotherCopy, markCopy } from "../realms.js";
import { claim } from "../tensor/claims.js";
import { copy, noGrad, type Tensor, type TorchNames } from "../tensor/index.js";
import { membersOf, noName, Walk } from "./members.js";
import { Buffer, Parameter } from "./parameter.js";
import { type PredictionInputs, type Predictions, type PredictOptions, predict } from "./predict.js";
import { privateFields } from "./private-fields.js";
import { composeTorchNames } from "./torch-names.js";

/** Storage precision of a model's parameters and activations. Computation is always in float32. */
export type Precision = "float32" | "bf16";

const typeOf = { float32: "float32", bf16: "bfloat16" } as const satisfies Record<Precision, DataType>;

/**
 * The base class of layers and models: parameters, buffers, other modules, and a function of tensors.
 *
 * Extend it to write a model. Every {@link Parameter}, {@link Buffer} and module in a public property is trained, saved
 * and switched between training and evaluation. They may be nested in arrays, plain objects, Maps and Sets. The path of
 * a part is the sequence of names, keys and indexes to it, joined by dots: `blocks.0.conv1.weight`. A part with several
 * paths, such as a shared weight, has the first of them. Getters are not called.
 *
 * A hidden parameter would be neither trained nor saved, so it is an error. If it is in a `#private` field or in an
 * object of another class, listing the parameters throws `invalid-state` with the name of the field. If it is elsewhere
 * (a closure, a static field, a WeakMap, a getter), the first step of the optimizer throws. Freeze a part that should
 * be neither trained nor saved.
 *
 * @example
 * ```ts
 * import { nn, openDevice, type Tensor } from "stepsize";
 *
 * const device = await openDevice("cpu");
 *
 * class Heads extends nn.Module {
 *   readonly heads = { classes: new nn.Linear(64, 10, { device }), box: new nn.Linear(64, 4, { device }) };
 *   forward(x: Tensor): Tensor {
 *     return this.heads.classes.forward(x);
 *   }
 * }
 *
 * // heads.classes.weight, heads.classes.bias, heads.box.weight, heads.box.bias
 * console.log([...new Heads().namedParameters().keys()]);
 * ```
 */
export abstract class Module {
  /** @internal The name in messages. Bundlers rename the class. */
  static readonly name: string = "Module";

  /**
   * Whether the module is in training. Then dropout drops elements and batch normalization uses the statistics of the
   * batch. Default true; see {@link train} and {@link eval}.
   */
  training = true;

  /** Computes outputs from inputs. */
  abstract forward(x: Tensor): Tensor;

  /**
   * Computes the outputs for inputs in host memory, batch by batch, in evaluation mode and without gradients.
   *
   * Parameters and modes are those of before when it is done. Weights that change in the meantime are used by the
   * remaining batches. For inputs that are a tensor, call `noGrad(() => model.forward(x))`.
   *
   * @param inputs the items one after the other. A typed array needs the option `shape`.
   * @returns the outputs as float32. For a classifier they are logits [N, classes].
   * @throws StepsizeError `invalid-argument` if the inputs or an option are invalid, or if the model does not have one
   * output per item; `invalid-state` if the model has no parameters; `device-failed` or `out-of-memory`. The promise
   * rejects then.
   *
   * @example
   * ```ts
   * import { data, loadModel, openDevice } from "stepsize";
   *
   * const device = await openDevice("auto");
   * const { model, prepare } = await loadModel("runs/1/checkpoints/step-600.safetensors", { device });
   * const { inputs } = await data.mnist({ split: "test" });
   * const logits = await model.predict(inputs.data, { shape: inputs.shape, prepare });
   * console.log(logits.shape); // 10000, 10
   * ```
   */
  predict(inputs: PredictionInputs, options: PredictOptions = {}): Promise<Predictions> {
    return predict(this, inputs, options);
  }

  /**
   * Returns all parameters by path, in the order of their assignment, and sets their names.
   *
   * @throws StepsizeError `invalid-state` if a part is hidden, has no name, or shares its path with another part
   */
  namedParameters(): Map<string, Parameter> {
    const found = new Map<string, Parameter>();
    visit(this, (path, member) => {
      if (!(member instanceof Parameter)) return;
      member.name = path;
      claim(member);
      member.listedBy = this;
      found.set(path, member);
    });
    return found;
  }

  /**
   * Returns all parameters, in the order of their assignment, and sets their names.
   *
   * @throws StepsizeError `invalid-state` as {@link namedParameters}
   */
  parameters(): Parameter[] {
    return [...this.namedParameters().values()];
  }

  /** Returns this module and all modules inside it. Throws as {@link namedParameters}. */
  modules(): Module[] {
    return [...this.namedModules().values()];
  }

  /**
   * Returns this module, under the empty path, and all modules inside it by path. Throws as {@link namedParameters}.
   */
  namedModules(): Map<string, Module> {
    const found = new Map<string, Module>([["", this]]);
    visit(this, (path, member) => {
      if (member instanceof Module) found.set(path, member);
    });
    return found;
  }

  /**
   * Returns the names and layouts of this model's tensors in PyTorch, for reading and writing weights and optimizer
   * state.
   *
   * They are composed of the `torchName` of this module and of those inside it. Override this method to return another
   * table.
   */
  torchNames(): TorchNames {
    return composeTorchNames(this, (member) => this.torchName(member));
  }

  /**
   * Returns the name in PyTorch of a member of this module, such as `downsample.0` for `shortcut`. The default is the
   * same name; override it if the names differ. With an empty string, the names of a module's tensors have no prefix.
   */
  protected torchName(member: string): string {
    return member;
  }

  /** Switches this module and all modules inside it to training, or with `false` to evaluation. Returns the module. */
  train(training = true): this {
    for (const module of this.modules()) module.training = training;
    return this;
  }

  /** Switches this module and all modules inside it to evaluation. Returns the module. */
  eval(): this {
    return this.train(false);
  }

  /**
   * Freezes all parameters, so that gradients are neither computed nor applied. With `false` it unfreezes them. Returns
   * the module.
   *
   * The constructor of an optimizer throws for a frozen parameter. Pass only the others
   * (`model.parameters().filter((p) => p.requiresGrad)`). To train a part later, freeze it after the optimizer was
   * made.
   */
  freeze(frozen = true): this {
    for (const parameter of this.parameters()) parameter.requiresGrad = !frozen;
    // An existing gradient would still be applied.
    if (frozen) this.zeroGrad();
    return this;
  }

  /**
   * Changes the storage precision of all parameters, and so that of activations and gradients. Returns the module.
   *
   * `bf16` takes half of the memory of float32 and has 8 significant bits. Sums, statistics, losses and buffers stay
   * float32. Call it before the optimizer is made, which then has float32 master weights.
   *
   * @throws StepsizeError `invalid-argument` for an unknown precision; `out-of-memory`
   */
  setPrecision(precision: Precision): this {
    if (!Object.hasOwn(typeOf, precision)) invalidArgument("precision", Object.keys(typeOf).join(" or "), precision);
    for (const parameter of this.parameters()) parameter.retype(typeOf[precision]);
    return this;
  }

  /** Storage precision of the parameters. */
  get precision(): Precision {
    return this.parameters()[0]?.dtype === "bfloat16" ? "bf16" : "float32";
  }

  /** Removes the gradients of all parameters and frees their memory. */
  zeroGrad(): void {
    for (const parameter of this.parameters()) parameter.zeroGrad();
  }

  /** Returns parameters and buffers by path. The tensors are those of the module, not copies. */
  stateDict(): Map<string, Tensor> {
    const found = new Map<string, Tensor>();
    visit(this, (path, member) => {
      if (member instanceof Parameter || member instanceof Buffer) found.set(path, member);
    });
    return found;
  }

  /**
   * Copies values into parameters and buffers.
   *
   * @param state tensors by path, as {@link stateDict} returns them
   * @throws StepsizeError `invalid-argument` if `state` is not a Map; `invalid-file` if tensors are missing, unknown,
   * or of another type or shape. Nothing has changed then.
   */
  loadStateDict(state: ReadonlyMap<string, Tensor>): void {
    this.checkStateDict(state);
    noGrad(() => {
      for (const [path, tensor] of this.stateDict()) copy(tensor, valueAt(state, path));
    });
  }

  /** @internal Checks a state as {@link loadStateDict} does. Changes nothing. */
  checkStateDict(state: ReadonlyMap<string, Described>): void {
    expectState("state", state);
    const problems = differences(this.stateDict(), state);
    if (problems.length > 0)
      throw new StepsizeError("invalid-file", `the state does not fit the model: ${problems.join("; ")}`);
  }

  /**
   * Returns the counters of modules that use random numbers, by path. A checkpoint contains them, so that a resumed run
   * has the same random numbers as an uninterrupted one.
   */
  counters(): Record<string, number> {
    const found: Record<string, number> = {};
    for (const [path, module] of countingModules(this)) found[path] = module.counter;
    return found;
  }

  /** Sets the counters that {@link counters} returned. A counter that is missing becomes 0. */
  loadCounters(counters: Readonly<Record<string, number>>): void {
    for (const [path, module] of countingModules(this)) module.counter = counters[path] ?? 0;
  }

  /** Frees the memory of all parameters, buffers and gradients. */
  dispose(): void {
    this.zeroGrad();
    for (const tensor of this.stateDict().values()) tensor.dispose();
  }
}

markCopy(Module);

/** Type and shape of a saved tensor, known before its values are read. */
type Described = Pick<Tensor, "dtype" | "shape">;

/** A module with a counter of its uses of random numbers. */
interface Counting {
  counter: number;
}

function isCounting(module: Module): module is Module & Counting {
  return "counter" in module && typeof module.counter === "number";
}

function countingModules(root: Module): [string, Counting][] {
  const found: [string, Counting][] = [];
  const add = (path: string, module: Module) => {
    if (isCounting(module)) found.push([path, module]);
  };
  add("", root);
  visit(root, (path, member) => {
    if (member instanceof Module) add(path, member);
  });
  return found;
}

/** Modules that were searched for hidden parts. The search is slower than a walk, so each module is searched once. */
const searched = new WeakSet<Module>();

const isModule = (value: object): value is Module => value instanceof Module;

/**
 * Calls `found` for every tensor and module inside a module, in order, with the first path to it.
 *
 * @throws StepsizeError `invalid-state` if a part is hidden, has no name, or shares its path with another part
 */
function visit(root: Module, found: (path: string, member: Tensor | Module) => void): void {
  const paths = new Set<string>();
  const modules: [path: string, module: Module][] = [["", root]];
  const walk = new Walk(isModule, (path, member) => {
    if (path.includes(noName))
      refusePart(
        path.replaceAll(noName, "?"),
        "this part of the model has a key that gives it no name; use a text or a number",
      );
    if (paths.has(path)) refusePart(path, "two parts of the model have this name; give one of them another");
    paths.add(path);
    if (isModule(member)) modules.push([path, member]);
    found(path, member);
  });
  walk.inside(root);
  const fresh = modules.filter(([, module]) => !searched.has(module));
  if (fresh.length > 0) refuseHidden(walk, fresh);
  for (const [, module] of fresh) searched.add(module);
}

/** Throws if a module has a trainable parameter, a buffer or a counter in a place that a walk does not reach. */
function refuseHidden(walk: Walk<Module>, modules: readonly (readonly [path: string, module: Module])[]): void {
  for (const [path, module] of modules) {
    for (const [name, value] of privateFields(module, Module)) {
      const hidden = hiddenIn(value, module, walk);
      if (hidden === undefined) continue;
      const place = `a private field of ${module.constructor.name}, which is seen by the class alone`;
      const advice = "hold it in a public property (TypeScript's `private` is one)";
      refusePart(path === "" ? name : `${path}.${name}`, `holds ${hidden} in ${place}; ${advice}${leaveOut}`);
    }
  }
  const holders = new Set<object>(modules.map(([, module]) => module));
  for (const { path, holder, value } of walk.unvisited) {
    if (isOfAnotherCopy(value))
      refusePart(path, `expected parts made by this copy of stepsize, got ${describe(value)}`);
    const hidden = holders.has(holder) ? hiddenIn(value, holder, walk) : undefined;
    if (hidden === undefined) continue;
    const Class = value.constructor?.name || "a class of its own";
    const advice = `let ${Class} extend Module, or hold it in an array, a Map, a Set or a plain object`;
    refusePart(path, `holds ${hidden} in an object of ${Class}, which is not looked into; ${advice}${leaveOut}`);
  }
}

const leaveOut = ", so that it is trained and saved; or freeze it, if it is to be neither";

/**
 * Returns a description of what a value hides; `undefined` if there is nothing, if it is frozen, or if it contains the
 * holder.
 */
function hiddenIn(value: unknown, holder: object, { seen }: Walk<Module>): string | undefined {
  const inside = membersOf(value, isModule);
  // A value that contains its holder is a reference to the surrounding model and not a part of it.
  if (inside.some((member) => member === holder)) return undefined;
  const members = inside.filter((member) => !seen.has(member));
  const parameters = members.filter((member) => member instanceof Parameter);
  const learned = parameters.find(({ requiresGrad, disposed }) => requiresGrad && !disposed);
  if (learned) return `a parameter of shape [${learned.shape.join(", ")}]`;
  if (parameters.length > 0) return undefined;
  const buffer = members.find((member) => member instanceof Buffer);
  if (buffer) return `a buffer of shape [${buffer.shape.join(", ")}]`;
  const counting = members.find((member) => isModule(member) && isCounting(member));
  return counting && `a ${counting.constructor.name}, whose counter is saved and which behaves otherwise in training,`;
}

function refusePart(path: string, problem: string): never {
  throw new StepsizeError("invalid-state", `${path}: ${problem}`);
}

/** Returns the differences between a state and the module's tensors, as text. */
function differences(members: ReadonlyMap<string, Tensor>, state: ReadonlyMap<string, Described>): string[] {
  const shapeOf = (tensor: Described) => `${tensor.dtype}[${tensor.shape.join(",")}]`;
  const problems: string[] = [];
  for (const [path, tensor] of members) {
    const given = state.get(path);
    if (!given) problems.push(`${path} is missing`);
    else if (shapeOf(given) !== shapeOf(tensor))
      problems.push(`${path} is ${shapeOf(given)}, the model has ${shapeOf(tensor)}`);
  }
  for (const path of state.keys()) if (!members.has(path)) problems.push(`${shown(path)} is not part of the model`);
  return problems.length > 6 ? [...problems.slice(0, 5), `and ${problems.length - 5} more differences`] : problems;
}
