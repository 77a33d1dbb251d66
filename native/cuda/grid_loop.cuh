// The loop of a grid over more work than it has threads. Neighbouring threads take neighbouring indices.
#pragma once

#include "platform.cuh"

namespace stepsize::cuda {

// Calls f(i) for this thread's share of 0 … count − 1.
template <int Threads, class F>
__device__ __forceinline__ void forGrid(int64_t count, const F& f) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * Threads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * Threads + threadIdx.x; i < count; i += step) f(i);
}

}  // namespace stepsize::cuda
