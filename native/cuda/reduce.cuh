// Sums over axes, and the largest of a row. Sums are cut into parts of a fixed length, each added in one order, and the
// parts are added in order: the same bits whatever the device's size. Reads the input once.
#pragma once

#include "../element_types.h"
#include "block_reduce.cuh"
#include "grid_loop.cuh"

namespace stepsize::cuda {

constexpr int kReduceThreads = 256;
constexpr int kRowPart = 16384;   // elements of a row that one block adds
constexpr int kColumnPart = 512;  // rows that one block adds
constexpr int kColumnLanes = 32;  // columns that a block takes side by side
constexpr int kColumnRows = kReduceThreads / kColumnLanes;

// x seen as [outer, length, inner], to [outer, parts, inner]. Parts that are added later are float32.
struct SumShape {
  int64_t outer, length, inner, parts;
};

// For inner = 1: a block per part of a row.
template <class T, class Sum>
__global__ void __launch_bounds__(kReduceThreads) sumRowsKernel(const T* x, Sum* sums, SumShape shape, float scale) {
  for (int64_t task = blockIdx.x; task < shape.outer * shape.parts; task += gridDim.x) {
    const int64_t begin = task % shape.parts * kRowPart;
    const int count = static_cast<int>(min(int64_t{kRowPart}, shape.length - begin));
    const T* row = x + task / shape.parts * shape.length + begin;
    float sum = 0;
    for (int i = static_cast<int>(threadIdx.x); i < count; i += kReduceThreads) sum += toFloat(row[i]);
    sum = blockSum<kReduceThreads>(sum);
    if (threadIdx.x == 0) sums[task] = castElement<Sum>(sum * scale);
  }
}

// A block per part of 32 columns: threads beside each other read columns beside each other.
template <class T, class Sum>
__global__ void __launch_bounds__(kReduceThreads) sumColumnsKernel(const T* x, Sum* sums, SumShape shape, float scale) {
  STEPSIZE_SHARED(float, partial, [kColumnRows][kColumnLanes]);
  const int lane = static_cast<int>(threadIdx.x) % kColumnLanes, row = static_cast<int>(threadIdx.x) / kColumnLanes;
  const int64_t tiles = (shape.inner + kColumnLanes - 1) / kColumnLanes;
  for (int64_t task = blockIdx.x; task < shape.outer * shape.parts * tiles; task += gridDim.x) {
    const int64_t part = task / tiles, column = task % tiles * kColumnLanes + lane;
    const int64_t begin = part % shape.parts * kColumnPart;
    const int64_t end = min(shape.length, begin + kColumnPart);
    const T* from = x + part / shape.parts * shape.length * shape.inner + column;
    float sum = 0;
    if (column < shape.inner)
      for (int64_t i = begin + row; i < end; i += kColumnRows) sum += toFloat(from[i * shape.inner]);
    partial[row][lane] = sum;
    __syncthreads();
    if (row == 0 && column < shape.inner) {
      for (int r = 1; r < kColumnRows; r++) sum += partial[r][lane];
      sums[part * shape.inner + column] = castElement<Sum>(sum * scale);
    }
    __syncthreads();
  }
}

// [outer, parts, inner] to [outer, inner], part by part.
template <class T>
__global__ void __launch_bounds__(kReduceThreads)
    addPartsKernel(const float* parts, T* out, SumShape shape, float scale) {
  forGrid<kReduceThreads>(shape.outer * shape.inner, [&](int64_t i) {
    const float* from = parts + i / shape.inner * shape.parts * shape.inner + i % shape.inner;
    float sum = 0;
    for (int64_t p = 0; p < shape.parts; p++) sum += from[p * shape.inner];
    out[i] = castElement<T>(sum * scale);
  });
}

// Where a row's largest value is, for every lane of the warp: of several the first; a NaN counts as largest.
template <class T>
__device__ __forceinline__ int warpArgmax(const T* row, int columns) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const auto isBetter = [](float value, int at, float other, int otherAt) {
    const bool nan = value != value, otherNan = other != other;
    if (nan != otherNan) return nan;
    return value > other || ((nan || value == other) && at < otherAt);
  };
  // A lane without a value of its own has the row's first, which changes nothing.
  int best = lane < columns ? lane : 0;
  float largest = toFloat(row[best]);
  for (int i = lane + kWarp; i < columns; i += kWarp)
    if (isBetter(toFloat(row[i]), i, largest, best)) {
      largest = toFloat(row[i]);
      best = i;
    }
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    const float other = __shfl_xor_sync(kWholeWarp, largest, distance);
    const int otherAt = __shfl_xor_sync(kWholeWarp, best, distance);
    if (isBetter(other, otherAt, largest, best)) {
      largest = other;
      best = otherAt;
    }
  }
  return best;
}

// A warp per row.
template <class T>
__global__ void __launch_bounds__(kReduceThreads) argmaxKernel(const T* x, int32_t* out, int64_t rows, int columns) {
  constexpr int warps = kReduceThreads / kWarp;
  const int64_t step = static_cast<int64_t>(gridDim.x) * warps;
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / kWarp; row < rows; row += step) {
    const int best = warpArgmax(x + row * columns, columns);
    if (threadIdx.x % kWarp == 0) out[row] = best;
  }
}

// One block: evaluation counts thousands of rows, not millions.
template <class T>
__global__ void __launch_bounds__(kReduceThreads)
    correctCountKernel(const T* logits, const int32_t* labels, int64_t rows, int columns, float* out) {
  constexpr int warps = kReduceThreads / kWarp;
  float correct = 0;
  for (int64_t row = threadIdx.x / kWarp; row < rows; row += warps) {
    const int best = warpArgmax(logits + row * columns, columns);
    if (threadIdx.x % kWarp == 0) correct += best == labels[row] ? 1.0f : 0.0f;
  }
  correct = blockSum<kReduceThreads>(correct);
  if (threadIdx.x == 0) out[0] = correct;
}

}  // namespace stepsize::cuda
