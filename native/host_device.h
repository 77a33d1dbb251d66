// STEPSIZE_HOST_DEVICE marks functions that both CPU loops and CUDA kernels call, so that each formula is written once.
// STEPSIZE_UNROLL unrolls the loop that follows, which has at most 16 iterations.
#pragma once

#if defined(__CUDACC__)
#define STEPSIZE_HOST_DEVICE __host__ __device__ __forceinline__
#define STEPSIZE_UNROLL _Pragma("unroll")
#else
#define STEPSIZE_HOST_DEVICE inline __attribute__((always_inline))
#define STEPSIZE_UNROLL _Pragma("GCC unroll 16")
#endif
