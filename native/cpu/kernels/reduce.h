// Sums over axes, their gradient, and argmax.
#pragma once

#include "../../operations_attributes.h"
#include "vector.h"

namespace stepsize::STEPSIZE_ISA {

// Pairwise summation over blocks of 128 vectors: the error grows with the logarithm of the length, and the order is
// fixed.
__attribute__((noinline)) inline float sumFloats(const float* x, int64_t count) {
  constexpr int64_t block = 128 * kLanes;
  if (count <= block) {
    Vec sums[4] = {broadcast(0), broadcast(0), broadcast(0), broadcast(0)};
    int64_t i = 0;
    for (; i + 4 * kLanes <= count; i += 4 * kLanes)
      for (int v = 0; v < 4; v++) sums[v] = sums[v] + load(x + i + v * kLanes);
    float sum = sumLanes((sums[0] + sums[1]) + (sums[2] + sums[3]));
    for (; i < count; i++) sum += x[i];
    return sum;
  }
  const int64_t half = ceilDivide(count / 2, block) * block;
  return sumFloats(x, half) + sumFloats(x + half, count - half);
}

// Σ f over one row, with four vector sums, in an order that depends on the length alone.
template <class F, class G>
STEPSIZE_INLINE float sumRow(int64_t count, const F& vectorAt, const G& scalarAt) {
  Vec sums[4] = {broadcast(0), broadcast(0), broadcast(0), broadcast(0)};
  int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes)
    for (int v = 0; v < 4; v++) sums[v] = sums[v] + vectorAt(i + v * kLanes);
  for (; i + kLanes <= count; i += kLanes) sums[0] = sums[0] + vectorAt(i);
  float sum = sumLanes((sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (; i < count; i++) sum += scalarAt(i);
  return sum;
}

// The largest value of a row, or `before` if that is larger; a NaN is ignored.
STEPSIZE_INLINE float largestValue(const float* row, int64_t count, float before) {
  Vec most = broadcast(before);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Vec v = load(row + i);
    most = v > most ? v : most;
  }
  float lanes[kLanes];
  store(lanes, most);
  float largest = before;
  for (float lane : lanes) largest = lane > largest ? lane : largest;
  for (; i < count; i++) largest = row[i] > largest ? row[i] : largest;
  return largest;
}

// x is seen as [outer, axis, inner]; the axis is summed and the result scaled.
inline void sum(const Invocation& call) {
  const TensorView& x = call.input(0);
  const auto axis = static_cast<int>(call.integer(attribute::sum::axis));
  const auto axes = static_cast<int>(call.integer(attribute::sum::count));
  const float scale = call.number(attribute::sum::scale);
  const int64_t outer = x.shape.product(0, axis), length = x.shape.product(axis, axis + axes);
  const int64_t inner = x.shape.product(axis + axes, x.shape.rank);
  const float* from = x.floats();
  float* to = call.output(0).floats();
  if (outer * inner == 0) return;
  // A task sums this many elements of the axis. A longer axis is cut into parts, which are added in order.
  const int64_t part = most(1, kChunk / inner);
  const int64_t parts = most(1, ceilDivide(length, part));
  float* partial = parts == 1 ? to : static_cast<float*>(call.workspace(outer * parts * inner * 4));
  const int64_t outerPerTask = parts == 1 ? most(1, kChunk / most(1, length * inner)) : 1;
  parallelFor(call, ceilDivide(outer, outerPerTask) * parts, [&](int64_t task) {
    const int64_t first = task / parts * outerPerTask, last = least(outer, first + outerPerTask);
    const int64_t begin = task % parts * part, end = least(length, begin + part);
    for (int64_t o = first; o < last; o++) {
      const float* source = from + (o * length + begin) * inner;
      float* sums = partial + (o * parts + task % parts) * inner;
      if (inner == 1) {
        sums[0] = sumFloats(source, end - begin);
        continue;
      }
      zeroFloats(sums, inner);
      for (int64_t i = begin; i < end; i++, source += inner)
        for (int64_t j = 0; j < inner; j++) sums[j] += source[j];
    }
  });
  for (int64_t o = 0; o < outer; o++)
    for (int64_t j = 0; j < inner; j++) {
      double total = 0;
      for (int64_t p = 0; p < parts; p++) total += static_cast<double>(partial[(o * parts + p) * inner + j]);
      to[o * inner + j] = static_cast<float>(total) * scale;
    }
}

// Repeats x [outer, inner] along a new axis between the two, and scales it: the gradient of a sum.
inline void expand(const Invocation& call) {
  const TensorView& x = call.input(0);
  const auto axis = static_cast<int>(call.integer(attribute::expand::axis));
  const int64_t size = call.integer(attribute::expand::size);
  const float scale = call.number(attribute::expand::scale);
  const int64_t outer = x.shape.product(0, axis), inner = x.shape.product(axis, x.shape.rank);
  const float* __restrict__ from = x.floats();
  float* __restrict__ to = call.output(0).floats();
  if (inner == 0) return;
  parallelChunks(call, outer * size, most(1, kChunk / inner), [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; row++) {
      const float* source = from + row / size * inner;
      for (int64_t j = 0; j < inner; j++) to[row * inner + j] = source[j] * scale;
    }
  });
}

// The index of the largest value of a row, the first if there are several. As in PyTorch, a NaN counts as larger than
// any number.
STEPSIZE_INLINE int64_t largestOf(const float* row, int64_t count) {
  int64_t best = 0;
  for (int64_t j = 1; j < count && row[best] == row[best]; j++)
    if (row[j] > row[best] || row[j] != row[j]) best = j;
  return best;
}

inline void argmax(const Invocation& call) {
  const TensorView& x = call.input(0);
  const int64_t columns = x.shape[x.shape.rank - 1];
  int32_t* to = call.output(0).as<int32_t>();
  parallelChunks(call, call.output(0).elements(), most(1, kChunk / columns), [&](int64_t from, int64_t last) {
    for (int64_t i = from; i < last; i++) to[i] = static_cast<int32_t>(largestOf(x.floats() + i * columns, columns));
  });
}

}  // namespace stepsize::STEPSIZE_ISA
