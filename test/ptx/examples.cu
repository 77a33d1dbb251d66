// The examples for nvcc. g++ compiles them as part of the test, which launches them.
#include "examples.cuh"

namespace stepsize::cuda {

template __global__ void sharedSumKernel<true>(const float* x, float* out);
template __global__ void sharedSumKernel<false>(const float* x, float* out);
template __global__ void lastBlockKernel<true>(float* partial, unsigned* finished, float* out);
template __global__ void lastBlockKernel<false>(float* partial, unsigned* finished, float* out);
template __global__ void tf32Kernel<true>(const float* a, const float* b, float* c);
template __global__ void tf32Kernel<false>(const float* a, const float* b, float* c);
template __global__ void asyncCopyKernel<true>(const float4* x, float4* out);
template __global__ void asyncCopyKernel<false>(const float4* x, float4* out);

}  // namespace stepsize::cuda
