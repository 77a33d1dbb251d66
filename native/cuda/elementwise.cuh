// Operations that treat every element alike. Memory-bound: each element is read and written once.
#pragma once

#include "../element_types.h"
#include "grid_loop.cuh"

namespace stepsize::cuda {

constexpr int kElementwiseThreads = 256;

template <class T>
__global__ void __launch_bounds__(kElementwiseThreads) fillKernel(T* to, int64_t count, T value) {
  forGrid<kElementwiseThreads>(count, [&](int64_t i) { to[i] = value; });
}

template <class To, class From>
__global__ void __launch_bounds__(kElementwiseThreads) castKernel(To* to, const From* from, int64_t count) {
  forGrid<kElementwiseThreads>(count, [&](int64_t i) { to[i] = castElement<To>(from[i]); });
}

}  // namespace stepsize::cuda
