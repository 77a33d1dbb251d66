// Reductions over a warp and a block in a fixed order, so that the same inputs always give the same bits; and detection
// of the last block of a grid.
#pragma once

#include "platform.cuh"

namespace stepsize::cuda {

constexpr int kWarp = 32;
constexpr unsigned kWholeWarp = 0xffffffffu;

// The sum over a warp, for every lane.
template <class T>
__device__ __forceinline__ T warpSum(T value) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(kWholeWarp, value, distance);
  return value;
}

// The maximum over a warp, for every lane. A NaN is ignored if there is another value.
__device__ __forceinline__ float warpMax(float value) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2)
    value = fmaxf(value, __shfl_xor_sync(kWholeWarp, value, distance));
  return value;
}

// Applies `reduce`, which reduces over a warp, to all threads of a block. Every thread gets the result, and all must
// call it.
template <int Threads, class T, class Reduce>
__device__ __forceinline__ T blockReduce(T value, T neutral, const Reduce& reduce) {
  static_assert(Threads % kWarp == 0 && Threads <= kWarp * kWarp, "whole warps, and one warp for their results");
  constexpr int warps = Threads / kWarp;
  STEPSIZE_SHARED(T, partial, [warps]);
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  value = reduce(value);
  // Other threads may still read the results of an earlier call.
  __syncthreads();
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  return reduce(lane < warps ? partial[lane] : neutral);
}

// The sum over a block, for every thread.
template <int Threads, class T>
__device__ __forceinline__ T blockSum(T value) {
  return blockReduce<Threads>(value, T{0}, [](T v) { return warpSum(v); });
}

// The maximum over a block, for every thread.
template <int Threads>
__device__ __forceinline__ float blockMax(float value) {
  return blockReduce<Threads>(value, -INFINITY, [](float v) { return warpMax(v); });
}

// Whether this block is the last one of the grid to get here. What the other blocks wrote before is then visible
// through readPast. `finished` counts up to the number of blocks.
__device__ __forceinline__ bool isLastBlock(unsigned* finished) {
  STEPSIZE_SHARED(int, last, [1]);
  __syncthreads();
  if (threadIdx.x == 0) {
    // The first fence releases the writes of this block, the second acquires those of the others. The barriers extend
    // both fences to the other threads of the block.
    __threadfence();
    last[0] = atomicAdd(finished, 1u) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  return last[0] != 0;
}

// Reads memory that another block wrote, bypassing this multiprocessor's cache.
template <class T>
__device__ __forceinline__ T readPast(const T* p) {
  return *static_cast<const volatile T*>(p);
}

}  // namespace stepsize::cuda
