// Tells the compiler that an address read from a table points to global memory. It cannot know, and would emit generic
// loads and stores, which look the space up each time.
#pragma once

#include "platform.cuh"

namespace stepsize::cuda {

template <class T>
__device__ __forceinline__ T* inGlobalMemory(T* p) {
#if defined(__CUDA_ARCH__)
  __builtin_assume(__isGlobal(p));
#endif
  return p;
}

}  // namespace stepsize::cuda
