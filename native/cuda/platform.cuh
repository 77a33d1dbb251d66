// Includes CUDA for kernel files: from nvcc, or from an emulator that runs the same source on a CPU. The emulator is
// part of the tests (test/emulator/), which put it on the include path.
//
//   __global__ void sum(const float* x, int n, float* out) {
//     STEPSIZE_SHARED(float, partial, [32]);        // float partial[32]
//     STEPSIZE_DYNAMIC_SHARED(float4, row);         // float4* row, sized by the launch
//     …
//   }
//   launch(sum, grid, block, sharedBytes, stream, x, n, out);
//
// Kernel files include CUDA only through this file. They do not use <<<>>> or __shared__, which the emulator cannot
// compile. Only tensor_core.cuh and ../approximations.h use inline PTX, next to a version for the emulator.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(STEPSIZE_EMULATED)
#include <cuda_emulated.h>
#elif defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <utility>
#else
#error "compile with nvcc, or with g++ and -DSTEPSIZE_EMULATED"
#endif

// Shared memory is aligned to 16 bytes at least, so that any vector type can be moved through it.
#if defined(STEPSIZE_EMULATED)
#define STEPSIZE_SHARED(type, name, dims) STEPSIZE_EMULATED_SHARED(type, name, dims)
#define STEPSIZE_DYNAMIC_SHARED(type, name) STEPSIZE_EMULATED_DYNAMIC_SHARED(type, name)
#else
#define STEPSIZE_SHARED(type, name, dims) __shared__ __align__(16) type name dims
// One extern array for all kernels of a file, because CUDA requires that the same name has the same type everywhere.
#define STEPSIZE_DYNAMIC_SHARED(type, name)                               \
  extern __shared__ __align__(128) unsigned char stepsizeDynamicShared[]; \
  type* name = reinterpret_cast<type*>(stepsizeDynamicShared)
#endif

namespace stepsize::cuda {

#if defined(STEPSIZE_EMULATED)
// Launches a kernel. Throws stepsize::emulator::Error for a launch that a device would refuse, and for errors inside
// the kernel.
using emulator::launch;
#else
// Launches a kernel. cudaGetLastError() reports a launch that was refused.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t sharedBytes, cudaStream_t stream,
            Arguments&&... arguments) {
  // clang-format off
  kernel<<<grid, block, sharedBytes, stream>>>(std::forward<Arguments>(arguments)...);
  // clang-format on
}
#endif

}  // namespace stepsize::cuda
