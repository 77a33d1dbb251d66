import { expectState } from "../arguments.js";
import { describe, invalidArgument, StepsizeError } from "../errors.js";
import type { DataType } from "../native/index.js";
import { shown } from "../quoting.js";
import { isOfAnotherCopy, markCopy } from "../realms.js";
import { claim } from "../tensor/claims.js";
import { copy, noGrad, type Tensor, type TorchNames } from "../tensor/index.js";
import { membersOf, noName, Walk } from "./members.js";
import { Buffer, Parameter } from "./parameter.js";
import { privateFields } from "./private-fields.js";
import { composeTorchNames } from "./torch-names.js";

/** What a model's parameters and activations are stored in; computed is in float32 always. */
export type Precision = "float32" | "bf16";

const typeOf = { float32: "float32", bf16: "bfloat16" } as const satisfies Record<Precision, DataType>;

/**
 * A piece of a model: parameters, buffers, other modules, and a function of tensors.
 *
 * Write your own by extending it: whatever is assigned to a property (a {@link Parameter}, a {@link Buffer}, a module) is
 * found, trained, saved and switched between training and evaluation. So is what stands in arrays, plain objects, Maps
 * and Sets, nested in any way. Its path is the names, keys and places on the way to it, with dots between them:
 * `blocks.0.conv1.weight`. What is reached on several paths, such as a shared weight, has the first of them. Getters are
 * not run.
 *
 * What a module uses but hides would be neither trained nor saved, and is refused: in a `#private` field, or in an object
 * of another class, when parameters are first listed (`invalid-state`, with the name of the field); anywhere else (a
 * closure, a static field, a WeakMap, a getter) at the optimizer's first step that leaves it out. What is to be left out
 * on purpose, such as a backbone that does not learn, is frozen first.
 *
 * @example
 * class Heads extends nn.Module {
 *   readonly heads = { classes: new nn.Linear(64, 10, { device }), box: new nn.Linear(64, 4, { device }) };
 *   forward(x) { return this.heads.classes.forward(x); }
 * }
 * [...new Heads().namedParameters().keys()]; // heads.classes.weight, heads.classes.bias, heads.box.weight, heads.box.bias
 */
export abstract class Module {
  /** Whether layers behave as in training (dropout drops, batch norm uses the batch); see {@link train}, {@link eval}. */
  training = true;

  /** From inputs to outputs. */
  abstract forward(x: Tensor): Tensor;

  /**
   * All parameters by path, in the order of their assignment; also sets their names.
   *
   * @throws StepsizeError `invalid-state` for a part that is hidden, or that has no name of its own
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

  /** All parameters, with their names set; throws as {@link namedParameters}. */
  parameters(): Parameter[] {
    return [...this.namedParameters().values()];
  }

  /** All modules inside this one, itself first. */
  modules(): Module[] {
    return [...this.namedModules().values()];
  }

  /** All modules inside this one by path, itself first under the empty path. */
  namedModules(): Map<string, Module> {
    const found = new Map<string, Module>([["", this]]);
    visit(this, (path, member) => {
      if (member instanceof Module) found.set(path, member);
    });
    return found;
  }

  /**
   * What PyTorch calls the tensors of this model, and how it lays them out: for weights and optimizer state in both
   * directions. Composed from the {@link torchName} of this module and of those inside it; override it to return a table
   * of your own.
   */
  torchNames(): TorchNames {
    return composeTorchNames(this, (member) => this.torchName(member));
  }

  /**
   * What PyTorch calls a member of this module, such as `downsample.0` for `shortcut`. Default: the same. Override it if
   * the names differ. The empty string leaves a module's own name out of the names of its tensors.
   */
  protected torchName(member: string): string {
    return member;
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
    visit(this, (path, member) => {
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
  checkStateDict(state: ReadonlyMap<string, Described>): void {
    expectState("state", state);
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

markCopy(Module);

/** What is known of a saved tensor before its values are read. */
type Described = Pick<Tensor, "dtype" | "shape">;

/** A module with a number that advances whenever it draws. */
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

/** Modules whose hiding places were searched: once is enough, and it takes longer than a walk. */
const searched = new WeakSet<Module>();

const isModule = (value: object): value is Module => value instanceof Module;

/**
 * Calls back for every tensor and module inside one, in order, each on the first path to it.
 *
 * @throws StepsizeError `invalid-state` where a part has no name of its own, or is hidden: see {@link Module}
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

/** Throws where a module holds something that learns or counts, or has a buffer, where a walk does not come. */
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
  const holders = new Set(modules.map(([, module]) => module as object));
  for (const { path, holder, value } of walk.others) {
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

/** What is hidden in a value, in words; nothing where all of it is frozen, or keeps nothing, or holds the holder. */
function hiddenIn(value: unknown, holder: object, { seen }: Walk<Module>): string | undefined {
  const inside = membersOf(value, isModule);
  // A reference back to the model around it, not a part.
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

/** What keeps `state` from fitting `own`, in words. */
function differences(own: ReadonlyMap<string, Tensor>, state: ReadonlyMap<string, Described>): string[] {
  const shapeOf = (tensor: Described) => `${tensor.dtype}[${tensor.shape.join(",")}]`;
  const problems: string[] = [];
  for (const [path, tensor] of own) {
    const given = state.get(path);
    if (!given) problems.push(`${path} is missing`);
    else if (shapeOf(given) !== shapeOf(tensor))
      problems.push(`${path} is ${shapeOf(given)}, the model has ${shapeOf(tensor)}`);
  }
  for (const path of state.keys()) if (!own.has(path)) problems.push(`${shown(path)} is not part of the model`);
  return problems.length > 6 ? [...problems.slice(0, 5), `and ${problems.length - 5} more differences`] : problems;
}
