import { invalidArgument } from "../../errors.js";
import { differentiable } from "../autograd.js";
import { execute, expectTensor, Tensor } from "../tensor.js";

/** Axes to reduce: all of them where nothing is given, one, or several that follow each other. */
export type Axes = number | readonly number[] | undefined;

function rangeOf(x: Tensor, axes: Axes): { axis: number; count: number } {
  expectTensor("x", x);
  const rank = x.shape.length;
  if (axes === undefined) return { axis: 0, count: rank };
  const expected = () => invalidArgument("axes", `axes of ${x} that follow each other`, axes);
  if (typeof axes !== "number" && !Array.isArray(axes)) return expected();
  const sorted = (typeof axes === "number" ? [axes] : [...axes]).map((axis) => (axis < 0 ? axis + rank : axis));
  sorted.sort((a, b) => a - b);
  const [axis = 0] = sorted;
  if (sorted.some((value, i) => !Number.isInteger(value) || value !== axis + i || value < 0 || value >= rank))
    return expected();
  return { axis, count: sorted.length };
}

function sumScaled(x: Tensor, axes: Axes, scaleOf: (length: number) => number): Tensor {
  const { axis, count } = rangeOf(x, axes);
  const length = x.shape.slice(axis, axis + count).reduce((product, size) => product * size, 1);
  const scale = scaleOf(length);
  return differentiable("sum", [x], { axis, count, scale }, () => ({
    gradient: (g) => {
      const [expanded] = execute("expand", [g], { axis, size: length, scale }) as [Tensor];
      return [new Tensor(x.device, x.device.native.reshape(expanded.handle, x.shape))];
    },
  }));
}

/** The sum over axes, which disappear: `sum(x, [0, 1])` of `[2, 3, 4]` has shape `[4]`. */
export function sum(x: Tensor, axes?: Axes): Tensor {
  return sumScaled(x, axes, () => 1);
}

/** The mean over axes, which disappear. */
export function mean(x: Tensor, axes?: Axes): Tensor {
  return sumScaled(x, axes, (length) => 1 / length);
}

/** The index of the largest value along the last axis, as int32; of several, the first; a NaN counts as largest. */
export function argmax(x: Tensor): Tensor {
  return execute("argmax", [x])[0] as Tensor;
}
