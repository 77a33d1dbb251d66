// Operations that treat every element alike. Memory-bound: each element is read and written once.
#pragma once

#include "../element_types.h"
#include "platform.cuh"

namespace stepsize::cuda {

constexpr int kElementwiseThreads = 256;

template <class T>
__global__ void __launch_bounds__(kElementwiseThreads) fillKernel(T* to, int64_t count, T value) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kElementwiseThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kElementwiseThreads + threadIdx.x; i < count; i += step)
    to[i] = value;
}

template <class To, class From>
__global__ void __launch_bounds__(kElementwiseThreads) castKernel(To* to, const From* from, int64_t count) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kElementwiseThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kElementwiseThreads + threadIdx.x; i < count; i += step)
    to[i] = castElement<To>(from[i]);
}

}  // namespace stepsize::cuda
