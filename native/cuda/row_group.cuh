// The group of threads that processes a row of a matrix: a warp if the row is short, so that no thread is idle and sums
// need no shared memory; otherwise a whole block.
#pragma once

#include "block_reduce.cuh"
#include "grid_loops.cuh"

namespace stepsize::cuda {

constexpr int kRowThreads = 256;  // threads of a block
constexpr int kShortRow = 512;    // the longest row for a warp: 16 columns per lane, in groups of four

// Σ f(e) over the elements of a group of four.
template <class F>
__device__ __forceinline__ float sumOfGroup(int count, const F& f) {
  float sum = 0;
#pragma unroll
  for (int e = 0; e < 4; e++)
    if (e < count) sum += f(e);
  return sum;
}

// Whether the groups of four of every row are aligned, given the addresses of the first rows.
template <class... Pointers>
__device__ __forceinline__ bool areRowsAligned(int columns, const Pointers*... rows) {
  return columns % 4 == 0 && (isAligned16(rows) && ...);
}

// A group of `Threads` threads, which is kWarp or kRowThreads.
template <int Threads>
struct RowGroup {
  static_assert(Threads == kWarp || Threads == kRowThreads, "a warp or a block");
  static constexpr int kPerBlock = kRowThreads / Threads;

  // Calls f(row) for the rows of this group.
  template <class F>
  __device__ static void forRows(int64_t rows, const F& f) {
    const int64_t step = static_cast<int64_t>(gridDim.x) * kPerBlock;
    for (int64_t row = static_cast<int64_t>(blockIdx.x) * kPerBlock + threadIdx.x / Threads; row < rows; row += step)
      f(row);
  }
  // Calls f(first, count) for this thread's columns, in groups of up to four.
  template <class F>
  __device__ static void forColumns(int columns, const F& f) {
    for (int j = 4 * thread(); j < columns; j += 4 * Threads) f(j, min(4, columns - j));
  }
  __device__ static int thread() { return static_cast<int>(threadIdx.x) % Threads; }

  // Reduce over the group. All threads of the group must call this, and all get the result.
  __device__ static float sum(float value) {
    if constexpr (Threads == kWarp)
      return warpSum(value);
    else
      return blockSum<kRowThreads>(value);
  }
  __device__ static float max(float value) {
    if constexpr (Threads == kWarp)
      return warpMax(value);
    else
      return blockMax<kRowThreads>(value);
  }
  // Σ f(first, count) over the columns, where f returns the sum of a group of four; all threads of the group must call
  // this.
  template <class F>
  __device__ static float sumOver(int columns, const F& f) {
    float own = 0;
    forColumns(columns, [&](int j, int count) { own += f(j, count); });
    return sum(own);
  }
};

}  // namespace stepsize::cuda
