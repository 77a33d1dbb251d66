// Sums over axes, argmax, and the count of equal numbers. A sum is cut into parts of a fixed length, each part is added
// in a fixed order, and the parts are added in order, so the bits do not depend on the size of the device. Each input
// is read once: 4 bytes per float32 element.
#pragma once

#include "column_sums.cuh"
#include "row_group.cuh"

namespace stepsize::cuda {

constexpr int kReduceThreads = 256;
constexpr int kRowPart = 16384;  // elements of a row that one block adds

// x is seen as [outer, length, inner] and summed to [outer, parts, inner]. If there are several parts, they are
// float32.
struct SumShape {
  int64_t outer, length, inner, parts;
};

// Sums for inner = 1; a block takes one part of a row.
template <class T, class Sum>
__global__ void __launch_bounds__(kReduceThreads) sumRowsKernel(const T* x, Sum* sums, SumShape shape, float scale) {
  using Group = RowGroup<kReduceThreads>;
  for (int64_t task = blockIdx.x; task < shape.outer * shape.parts; task += gridDim.x) {
    const int64_t begin = task % shape.parts * kRowPart;
    const int count = static_cast<int>(min(int64_t{kRowPart}, shape.length - begin));
    const T* row = x + task / shape.parts * shape.length + begin;
    const float sum = sumOfRow<Group>(row, count, headOf(count, row));
    if (threadIdx.x == 0) sums[task] = castElement<Sum>(sum * scale);
  }
}

// Sums for inner > 1; a block takes one part of a tile of columns.
template <class T, class Sum>
__global__ void __launch_bounds__(kColumnThreads) sumColumnsKernel(const T* x, Sum* sums, SumShape shape, float scale) {
  constexpr int size = kGroup<T>;
  const int64_t tiles = (shape.inner - 1) / kColumnTile<T> + 1;
  for (int64_t task = blockIdx.x; task < shape.outer * shape.parts * tiles; task += gridDim.x) {
    const int64_t part = task / tiles;
    const ColumnTile<size> tile(part % shape.parts, task % tiles, shape.length, shape.inner);
    const T* from = x + part / shape.parts * shape.length * shape.inner;
    float total[1];
    const T* const matrices[1] = {from};
    sumRowsOf(tile, matrices, tile.isWhole(from), total, [&](int64_t, const auto& values, auto& own) {
#pragma unroll
      for (int e = 0; e < size; e++) own[0][e] += values[0][e];
    });
    if (tile.hasSum()) sums[part * shape.inner + tile.sumColumn()] = castElement<Sum>(total[0] * scale);
  }
}

// Adds the parts: [outer, parts, inner] → [outer, inner]. A block takes some columns.
template <class T>
__global__ void __launch_bounds__(kMergeThreads)
    addPartsKernel(const float* parts, T* out, SumShape shape, float scale) {
  const int64_t tiles = (shape.inner - 1) / kMergeLanes + 1;
  for (int64_t task = blockIdx.x; task < shape.outer * tiles; task += gridDim.x) {
    const int64_t outer = task / tiles, column = task % tiles * kMergeLanes + mergeLane();
    const float* from = parts + outer * shape.parts * shape.inner + column;
    const bool inside = column < shape.inner;
    const float sum = mergeParts<float>(
        shape.parts, inside, [&](int64_t part) { return from[part * shape.inner]; },
        [](float a, float b) { return a + b; });
    if (mergeRow() == 0 && inside) out[outer * shape.inner + column] = castElement<T>(sum * scale);
  }
}

// A value of a row and its index. isAbove() orders candidates for argmax: of equal values the first one wins, and a NaN
// is larger than any number.
struct Candidate {
  float value;
  int at;

  __device__ bool isAbove(const Candidate& other) const {
    const bool nan = value != value, otherNan = other.value != other.value;
    if (nan != otherNan) return nan;
    return value > other.value || ((nan || value == other.value) && at < other.at);
  }
};

// out[row] = the index of the largest value of the row; a warp takes a row.
template <class T>
__global__ void __launch_bounds__(kReduceThreads) argmaxKernel(const T* x, int32_t* out, int64_t rows, int columns) {
  using Group = RowGroup<kWarp>;
  Group::forRows(rows, [&](int64_t row) {
    const T* from = x + row * columns;
    // A lane without values of its own starts with the first value of the row, which does not change the result.
    Candidate best{toFloat(from[0]), 0};
    Group::forColumns<kGroup<T>>(columns, headOf(columns, from), [&](int i, auto elements) {
      constexpr int n = decltype(elements)::kCount;
      float values[n];
      loadAligned(from + i, values);
#pragma unroll
      for (int e = 0; e < n; e++) {
        const Candidate own{values[e], i + e};
        if (own.isAbove(best)) best = own;
      }
    });
#pragma unroll
    for (int distance = kWarp / 2; distance > 0; distance /= 2) {
      const Candidate other{__shfl_xor_sync(kWholeWarp, best.value, distance),
                            __shfl_xor_sync(kWholeWarp, best.at, distance)};
      if (other.isAbove(best)) best = other;
    }
    if (Group::thread() == 0) out[row] = best.at;
  });
}

// out = the number of i with a[i] = b[i] and b[i] ≠ ignored. One block is enough, because there are only as many
// numbers as rows of logits, some thousands.
__global__ void __launch_bounds__(kReduceThreads)
    countEqualKernel(const int32_t* a, const int32_t* b, int64_t count, int ignored, float* out) {
  float equal = 0;
  for (int64_t i = threadIdx.x; i < count; i += kReduceThreads) equal += a[i] == b[i] && b[i] != ignored ? 1.0f : 0.0f;
  equal = blockSum<kReduceThreads>(equal);
  if (threadIdx.x == 0) out[0] = equal;
}

}  // namespace stepsize::cuda
