import type { DataType } from "../../data-type.js";
import { invalidArgument } from "../../errors.js";
import { elementCount } from "../../shapes.js";
import { differentiable } from "../autograd.js";
import { expectTensor, run, type Tensor, viewOf } from "../tensor.js";

/**
 * Axes of a reduction: one axis, several consecutive axes, or `undefined` for all. Negative axes count from the end.
 */
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

function sumScaled<D extends DataType>(x: Tensor<D>, axes: Axes, scaleOf: (length: number) => number): Tensor<D> {
  const { axis, count } = rangeOf(x, axes);
  const length = elementCount(x.shape.slice(axis, axis + count));
  const scale = scaleOf(length);
  return differentiable("sum", [x], { axis, count, scale }, () => ({
    gradient: (g) => {
      const expanded = run("expand", [g], { axis, size: length, scale });
      return [viewOf(expanded, x.shape)];
    },
  }));
}

/**
 * Returns the sum over axes. The axes are removed: for `x` of shape `[2, 3, 4]`, `sum(x, [0, 1])` has shape `[4]`.
 *
 * @throws StepsizeError `invalid-argument` if the axes are not consecutive axes of `x`
 */
export function sum<D extends DataType>(x: Tensor<D>, axes?: Axes): Tensor<D> {
  return sumScaled(x, axes, () => 1);
}

/**
 * Returns the mean over axes. The axes are removed, as in {@link sum}.
 *
 * @throws StepsizeError `invalid-argument` if the axes are not consecutive axes of `x`
 */
export function mean<D extends DataType>(x: Tensor<D>, axes?: Axes): Tensor<D> {
  return sumScaled(x, axes, (length) => 1 / length);
}

/**
 * Returns the index of the largest value along the last axis, as int32.
 *
 * Of equal values the first counts. NaN counts as the largest value.
 */
export function argmax(x: Tensor): Tensor<"int32"> {
  return run("argmax", [x]);
}
