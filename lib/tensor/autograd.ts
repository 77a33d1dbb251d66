import { expectFunction, expectObject } from "../arguments.js";
import type { DataType } from "../data-type.js";
import { invalidArgument, StepsizeError } from "../errors.js";
import type { Attributes } from "../native/addon.js";
import { expectOptions, optionNames } from "../options.js";
import { isPromise } from "../realms.js";
import { noteLeaves } from "./claims.js";
import type { Inputs, ResultOf } from "./results.js";
import { openScope, track, untrack } from "./scope.js";
import { execute, expectTensor, type GraphNode, run, Tensor, viewOf } from "./tensor.js";

let graphEnabled = true;

/**
 * Runs a function without adding its operations to the graph of `backward()`, for example for an evaluation or a manual
 * update.
 *
 * @returns the result of `block`
 * @throws StepsizeError `invalid-argument` if `block` is not a function or returns a promise, because its later
 * operations would be added
 *
 * @example
 * ```ts
 * import { noGrad, openDevice, tensor } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const w = tensor(device, [1, 2], undefined, { requiresGrad: true });
 * const y = noGrad(() => w.square().sum());
 * console.log(y.requiresGrad); // false
 * ```
 */
export function noGrad<T>(block: () => T): T {
  expectFunction("block", block);
  const before = graphEnabled;
  graphEnabled = false;
  try {
    const result = block();
    if (isPromise(result))
      throw new StepsizeError("invalid-argument", "noGrad: expected a function that returns at once, got a promise");
    return result;
  } finally {
    graphEnabled = before;
  }
}

/** @internal Returns whether an operation on these tensors is added to the graph. */
export function needsGraph(inputs: readonly Tensor[]): boolean {
  return graphEnabled && inputs.some((input) => input.requiresGrad);
}

/** The gradient of a differentiable operation. */
export interface Differentiation {
  /** Tensors that `gradient` reads. If one is changed in place or disposed before `backward()`, that call throws. */
  readonly saves?: readonly Tensor[];
  /**
   * Returns the gradients of the inputs, in their order, from the gradient of the result. An entry is a new tensor, the
   * given gradient itself, or `undefined` if no gradient flows to that input. `needed` tells for each input whether its
   * gradient is used.
   */
  readonly gradient: (gradient: Tensor, needed: readonly boolean[]) => readonly (Tensor | undefined)[];
}

/**
 * @internal Runs an operation of the table and adds it to the graph. The first result is the output. The other results
 * are used by the gradient only.
 */
export function differentiable<
  const Operation extends string,
  const I extends Inputs,
  const A extends Attributes | undefined,
>(
  operation: Operation,
  inputs: I,
  attributes: A,
  differentiate: (output: Tensor, extras: readonly Tensor[]) => Differentiation,
): ResultOf<Operation, I, A>;
export function differentiable(
  operation: string,
  inputs: readonly Tensor[],
  attributes: Attributes | undefined,
  differentiate: (output: Tensor, extras: readonly Tensor[]) => Differentiation,
): Tensor {
  const [output, ...extras] = execute(operation, inputs, attributes);
  if (output === undefined) throw new Error(`${operation} has no result`);
  return attachGradient(operation, inputs, output, extras, () => differentiate(output, extras));
}

/**
 * @internal Adds a result that was computed before to the graph. `extras` are used by the gradient only: they are
 * disposed with the graph, or at once if the result is not added.
 */
export function attachGradient<D extends DataType>(
  operation: string,
  inputs: readonly Tensor[],
  output: Tensor<D>,
  extras: readonly Tensor[],
  differentiate: () => Differentiation,
): Tensor<D> {
  if (needsGraph(inputs)) {
    addNode(operation, inputs, output, extras, differentiate());
  } else {
    for (const extra of extras) extra.dispose();
  }
  return output;
}

const differentiationNames = optionNames<Differentiation>({ saves: true, gradient: true });

/**
 * Attaches a custom gradient to a tensor: `output` becomes differentiable with respect to `inputs`.
 *
 * Use it for operations that are not composed of differentiable ones. Compute the output inside {@link noGrad}. `D` is
 * the type of its elements.
 *
 * @returns `output`
 * @throws StepsizeError `invalid-argument` if an argument has the wrong type, or if the output has a gradient already
 *
 * @example
 * ```ts
 * import { noGrad, openDevice, tensor, withGradient } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const x = tensor(device, [1, 2, 3], undefined, { requiresGrad: true });
 * const doubled = withGradient(noGrad(() => x.multiply(2)), [x], { gradient: (g) => [g.multiply(2)] });
 * doubled.sum().backward();
 * console.log(await x.grad!.read()); // 2, 2, 2
 * ```
 */
export function withGradient<D extends DataType>(
  output: Tensor<D>,
  inputs: readonly Tensor[],
  differentiation: Differentiation,
): Tensor<D> {
  expectTensor("output", output);
  if (!Array.isArray(inputs)) invalidArgument("inputs", "an array of tensors", inputs);
  for (const [i, input] of inputs.entries()) expectTensor(`inputs[${i}]`, input);
  expectOptions("withGradient", differentiationNames, differentiation);
  expectDifferentiation(differentiation);
  if (output.node)
    throw new StepsizeError("invalid-argument", "withGradient: the output has a gradient; compute it inside noGrad");
  if (needsGraph(inputs)) addNode("withGradient", inputs, output, [], differentiation);
  return output;
}

function expectDifferentiation(given: Differentiation): void {
  expectObject("differentiation", given, "an object with the gradient's function");
  expectFunction("gradient", given.gradient, "a function from the gradient of the output to those of the inputs");
  const { saves = [] } = given;
  if (!Array.isArray(saves)) invalidArgument("saves", "an array of tensors", saves);
  for (const [i, saved] of saves.entries()) expectTensor(`saves[${i}]`, saved);
}

function addNode(
  operation: string,
  inputs: readonly Tensor[],
  output: Tensor,
  extras: readonly Tensor[],
  { saves = [], gradient }: Differentiation,
): void {
  output.requiresGrad = true;
  const saved = saves.map((tensor) => ({ tensor, version: tensor.handle.version }));
  output.node = { operation, inputs, output, saved, extras, gradient, released: false };
}

/**
 * Computes the gradients of a scalar with respect to all leaves that require one, and adds them to the leaves' `grad`.
 *
 * Afterwards the graph is released. Its intermediate results are disposed, except the scalar itself and tensors on
 * which `keep()` was called.
 *
 * @param root a tensor with one element
 * @param gradient a tensor with one element by which the gradients are multiplied. Default 1. With {@link weightOf} of
 * a mean, the gradients are those of the sum.
 * @throws StepsizeError `invalid-argument` if `root` or `gradient` is not a tensor with one element, or if `root` does
 * not depend on anything that requires a gradient; `invalid-state` on a second call, or if a tensor that the gradient
 * needs was changed in place or disposed; `out-of-memory`
 *
 * @example
 * ```ts
 * import { backward, openDevice, tensor } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const x = tensor(device, [1, 2, 3], undefined, { requiresGrad: true });
 * backward(x.square().sum()); // or x.square().sum().backward()
 * console.log(await x.grad!.read()); // 2, 4, 6
 * ```
 */
export function backward(root: Tensor, gradient?: Tensor): void {
  expectTensor("root", root);
  if (gradient !== undefined) expectTensor("gradient", gradient);
  if (root.size !== 1)
    throw new StepsizeError("invalid-argument", `backward: expected a tensor with one element, got ${root}`);
  const { node: last } = root;
  if (!last)
    throw new StepsizeError(
      "invalid-argument",
      `backward: ${root} does not depend on anything that requires a gradient` +
        " (or was made inside noGrad); there is nothing to differentiate",
    );
  if (last.released)
    throw new StepsizeError(
      "invalid-state",
      "backward: the graph of this tensor was released by an earlier backward(); compute it again to differentiate again",
    );
  noGrad(() => {
    const order = topologicalOrder(last);
    const leaves = new Set<Tensor>();
    const gradients = new Map<Tensor, Tensor>([[root, seedOf(root, gradient)]]);
    for (const node of order) {
      const received = gradients.get(node.output);
      gradients.delete(node.output);
      if (received) propagate(node, received, gradients, leaves);
      release(node, root);
    }
    noteLeaves(leaves);
  });
}

/**
 * Returns the gradient of the root with respect to itself: 1, or the one given.
 *
 * It is computed from the root, so that a spoiled loss spoils all its gradients. The gradient of a sum, for example,
 * would otherwise not read the loss.
 */
function seedOf(root: Tensor, gradient: Tensor | undefined): Tensor {
  if (gradient && gradient.size !== 1)
    throw new StepsizeError("invalid-argument", `backward: expected a gradient with one element, got ${gradient}`);
  const ones = new Tensor(root.device, root.device.native.create(root.dtype, root.shape));
  execute("fill", [ones, root], { value: 1 });
  if (!gradient) return ones;
  const cast = run("cast", [gradient], { dtype: root.dtype });
  const given = viewOf(cast, root.shape);
  const seed = run("multiply", [ones, given]);
  for (const temporary of [ones, cast, given]) temporary.dispose();
  return seed;
}

/** Returns the nodes from the root to the leaves. Every node comes after all nodes that use its output. */
function topologicalOrder(root: GraphNode): GraphNode[] {
  const order: GraphNode[] = [];
  const seen = new Set<GraphNode>([root]);
  // An explicit stack: recursion would overflow JavaScript's stack for a deep network.
  const stack: { node: GraphNode; next: number }[] = [{ node: root, next: 0 }];
  for (let top = stack.at(-1); top; top = stack.at(-1)) {
    const input = top.node.inputs[top.next++];
    if (!input) {
      order.push(top.node);
      stack.pop();
    } else if (input.node && !input.node.released && !seen.has(input.node)) {
      seen.add(input.node);
      stack.push({ node: input.node, next: 0 });
    }
  }
  return order.reverse();
}

function propagate(node: GraphNode, gradient: Tensor, gradients: Map<Tensor, Tensor>, leaves: Set<Tensor>): void {
  for (const { tensor, version } of node.saved) check(node, tensor, version);
  const needed = node.inputs.map((input) => input.requiresGrad);
  const results = gradientsOf(node, gradient, needed);
  const given = new Set<Tensor>();
  const received: [input: Tensor, gradient: Tensor][] = [];
  results.forEach((result, i) => {
    const input = node.inputs[i];
    if (!result || !input) return;
    if (!input.requiresGrad) {
      if (result !== gradient) result.dispose();
      return;
    }
    // Each input owns its gradient. The incoming gradient, or a tensor that is returned twice, gets a second handle.
    received.push([input, result === gradient || given.has(result) ? result.detach() : result]);
    given.add(result);
  });
  gradient.dispose();
  for (const [input, part] of received) {
    accumulate(input, part, gradients);
    if (!input.node) leaves.add(input);
  }
}

/** Runs the gradient of a node and disposes of its temporary tensors. */
function gradientsOf(node: GraphNode, gradient: Tensor, needed: readonly boolean[]): readonly (Tensor | undefined)[] {
  const close = openScope();
  let results: readonly (Tensor | undefined)[] = [];
  try {
    results = node.gradient(gradient, needed);
    return results;
  } finally {
    for (const tensor of close()) {
      // The results belong to the surrounding scope, which disposes of them if the rest of the pass fails.
      if (results.includes(tensor)) track(tensor);
      else tensor.dispose();
    }
  }
}

function check(node: GraphNode, tensor: Tensor, version: number): void {
  if (tensor.disposed)
    throw new StepsizeError(
      "invalid-state",
      `backward: ${node.operation} needs a tensor of shape [${tensor.shape}] that was disposed before backward()`,
    );
  if (tensor.handle.version !== version)
    throw new StepsizeError(
      "invalid-state",
      `backward: ${node.operation} needs a tensor of shape [${tensor.shape}] that was changed in place` +
        " after it was used; call backward() before the update",
    );
}

function accumulate(input: Tensor, gradient: Tensor, gradients: Map<Tensor, Tensor>): void {
  const leaf = !input.node;
  if (!leaf && input.node?.released)
    throw new StepsizeError(
      "invalid-state",
      `backward: the graph of an input of shape [${input.shape}] was released by an earlier backward()`,
    );
  const before = leaf ? input.grad : gradients.get(input);
  let sum = gradient;
  if (before) sum = run("add", [before, gradient]);
  // The memory is copied: an in-place change of one parameter's gradient must not change another's.
  else if (leaf && gradient.handle.shared) sum = run("cast", [gradient], { dtype: gradient.dtype });
  if (sum !== gradient) {
    before?.dispose();
    gradient.dispose();
  }
  if (leaf) {
    input.grad = sum;
    untrack(sum);
  } else {
    gradients.set(input, sum);
  }
}

function release(node: GraphNode, root: Tensor): void {
  node.released = true;
  for (const extra of node.extras) extra.dispose();
  if (node.output !== root && !node.output.kept) node.output.dispose();
}
