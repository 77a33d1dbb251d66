// The group of threads that processes a row of a matrix: a warp if the row is short, so that no thread is idle and sums
// need no shared memory; otherwise a whole block.
#pragma once

#include "block_reduce.cuh"
#include "grid_loops.cuh"

namespace stepsize::cuda {

constexpr int kRowThreads = 256;  // threads of a block
constexpr int kShortRow = 512;    // the longest row for a warp: 16 columns per lane

// The columns of a row before its first group that is aligned to 16 bytes. If these are different numbers for two of
// the rows, all columns are.
template <class T, class... More>
__device__ __forceinline__ int headOf(int columns, const T* row, const More*... more) {
  static_assert((isSame<T, More> && ...), "the rows of one type");
  const auto place = [](const void* p) { return static_cast<int>(reinterpret_cast<uintptr_t>(p) & 15); };
  const int bytes = (16 - place(row)) & 15;
  return ((place(more) == place(row)) && ...) ? min(columns, bytes / static_cast<int>(sizeof(T))) : columns;
}

// The same for rows of one length that are read together with vectors of this length: none if all groups are aligned,
// otherwise all columns.
template <int Group, class... Pointers>
__device__ __forceinline__ int headOfAll(int columns, const Pointers*... firstRows) {
  return columns % Group == 0 && areAligned(firstRows...) ? 0 : columns;
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
  // Calls f(first, Elements<Size>) for this thread's groups of columns, which begin after `head` columns, and
  // f(j, Elements<1>) for the columns before and after the groups.
  template <int Size, class F>
  __device__ static void forColumns(int columns, int head, const F& f) {
    const int grouped = (columns - head) / Size * Size;
#pragma unroll 1
    for (int j = Size * thread(); j < grouped; j += Size * Threads) f(head + j, Elements<Size>{});
#pragma unroll 1
    for (int j = thread(); j < columns - grouped; j += Threads) f(j < head ? j : j + grouped, Elements<1>{});
  }
  __device__ static int thread() { return static_cast<int>(threadIdx.x) % Threads; }

  // A barrier of the group. What its threads wrote before is visible to all of them afterwards.
  __device__ static void synchronize() {
    if constexpr (Threads == kWarp)
      __syncwarp();
    else
      __syncthreads();
  }

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
  // Σ f(first, Elements<N>) over the columns, where f returns the sum of some; all threads of the group must call this.
  template <int Size, class F>
  __device__ static float sumOver(int columns, int head, const F& f) {
    float own = 0;
    forColumns<Size>(columns, head, [&](int j, auto elements) { own += f(j, elements); });
    return sum(own);
  }
};

// Σ row, for every thread.
template <class Group, class T>
__device__ __forceinline__ float sumOfRow(const T* row, int columns, int head) {
  return Group::template sumOver<kGroup<T>>(columns, head, [&](int j, auto elements) {
    float x[decltype(elements)::kCount];
    loadAligned(row + j, x);
    return sumOf(x);
  });
}

}  // namespace stepsize::cuda
