// Tells the compiler that an address that was read from a table points to global memory. Without this, the compiler
// must emit generic loads and stores, which determine the address space at each access.
#pragma once

#include "platform.cuh"

namespace stepsize::cuda {

// Returns `p`, which must point to global memory.
template <class T>
__device__ __forceinline__ T* inGlobalMemory(T* p) {
#if defined(__CUDA_ARCH__)
  __builtin_assume(__isGlobal(p));
#endif
  return p;
}

}  // namespace stepsize::cuda
