// Functions that CPU loops and CUDA kernels both call, so that there is one arithmetic.
#pragma once

#if defined(__CUDACC__)
#define STEPSIZE_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define STEPSIZE_HOST_DEVICE inline __attribute__((always_inline))
#endif
