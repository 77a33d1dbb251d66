// STEPSIZE_HOST_DEVICE marks functions that both CPU loops and CUDA kernels call, so that each formula is written once.
#pragma once

#if defined(__CUDACC__)
#define STEPSIZE_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define STEPSIZE_HOST_DEVICE inline __attribute__((always_inline))
#endif
