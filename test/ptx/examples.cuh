// Kernels for the tests of the interpreter: some are correct, and some have an error that the interpreter must detect.
#pragma once

#include "../../native/bfloat16.h"
#include "../../native/cuda/block_reduce.cuh"
#include "../../native/cuda/tensor_core.cuh"

namespace stepsize::cuda {

// An update in one expression, as Adam's was in the past. Whether the first argument is read before the call changes it
// is the compiler's choice: g++ makes the call first; nvcc reads first, and so would the GPU.
STEPSIZE_HOST_DEVICE float moveMoment(float& moment, float gradient) {
  moment = 0.5f * moment + 0.5f * gradient;
  return 1.0f;
}
STEPSIZE_HOST_DEVICE float product(float moment, float factor) { return moment * factor; }
STEPSIZE_HOST_DEVICE float plantedOrder(float& moment, float gradient) {
  return product(moment, moveMoment(moment, gradient));
}
__global__ void plantedOrderKernel(float* moments, const float* gradients, float* out) {
  const unsigned i = threadIdx.x;
  out[i] = plantedOrder(moments[i], gradients[i]);
}

// Expressions that a compiler may contract, and the float instructions.
__global__ void arithmeticKernel(const float* x, const float* y, float* out) {
  const unsigned i = threadIdx.x;
  float* results = out + 8 * i;
  results[0] = x[i] * y[i] + 1.0f;
  results[1] = fmaf(x[i], y[i], 1.0f);
  results[2] = x[i] / y[i];
  results[3] = sqrtf(fabsf(x[i]));
  results[4] = expf(x[i]);
  results[5] = fminf(x[i], y[i]);
  results[6] = static_cast<float>(static_cast<int>(x[i] * 100.0f));
  results[7] = toFloat(toBFloat16(x[i]));
}

// Lanes diverge and join again.
__global__ void divergingKernel(int* out) {
  const int i = static_cast<int>(threadIdx.x);
  int steps = 0;
  for (int n = i + 1; n != 1; steps++) n = n % 2 == 0 ? n / 2 : 3 * n + 1;
  __syncwarp();
  out[i] = steps + __shfl_xor_sync(kWholeWarp, steps, 1);
}

// A sum through shared memory; without the barrier it may read values that are not there yet.
template <bool HasBarrier>
__global__ void sharedSumKernel(const float* x, float* out) {
  STEPSIZE_SHARED(float, values, [64]);
  const unsigned i = threadIdx.x;
  values[i] = x[i];
  if (HasBarrier) __syncthreads();
  out[i] = values[i] + values[63 - i];
}

// Reads shared memory that one thread did not write.
__global__ void uninitializedKernel(float* out) {
  STEPSIZE_SHARED(float, values, [32]);
  if (threadIdx.x != 7) values[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x];
}

// The last block adds what all blocks have written; without fences it may read older values.
template <bool HasFences>
__global__ void lastBlockKernel(float* partial, unsigned* finished, float* out) {
  STEPSIZE_SHARED(int, isLast, [1]);
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = static_cast<float>(blockIdx.x + 1);
    if (HasFences) __threadfence();
    isLast[0] = atomicAdd(finished, 1u) == gridDim.x - 1;
    if (HasFences) __threadfence();
  }
  __syncthreads();
  if (isLast[0] == 0 || threadIdx.x > 0) return;
  float sum = 0;
  for (unsigned block = 0; block < gridDim.x; block++) sum += partial[block];
  *out = sum;
}

// Reads asynchronous copies with or without waiting for them.
template <bool Waits>
__global__ void asyncCopyKernel(const float4* x, float4* out) {
  STEPSIZE_SHARED(float4, values, [32]);
  copyAsync16(&values[threadIdx.x], &x[threadIdx.x], false);
  commitCopies();
  if (Waits) waitForCopies<0>();
  out[threadIdx.x] = values[threadIdx.x];
}

// Multiplies [16, 8] by [8, 8] in TF32, rounded or not.
template <bool Rounds>
__global__ void tf32Kernel(const float* a, const float* b, float* c) {
  const unsigned g = threadIdx.x / 4, t = threadIdx.x % 4;
  const auto word = [](float x) {
    if (Rounds) return roundedToTf32(x);
    uint32_t bits = 0;
    __builtin_memcpy(&bits, &x, sizeof bits);
    return bits;
  };
  const uint32_t left[4] = {word(a[8 * g + t]), word(a[8 * (g + 8) + t]), word(a[8 * g + t + 4]),
                            word(a[8 * (g + 8) + t + 4])};
  const uint32_t right[2] = {word(b[8 * t + g]), word(b[8 * (t + 4) + g])};
  float sums[4] = {};
  multiplyAdd<true>(sums, left, right);
  for (unsigned e = 0; e < 4; e++) c[8 * (g + e / 2 * 8) + 2 * t + e % 2] = sums[e];
}

// Lanes wait for each other in different places.
__global__ void deadlockKernel(int* out) {
  if (threadIdx.x % 2 == 0)
    __syncwarp();
  else
    out[threadIdx.x] = __shfl_sync(kWholeWarp, out[threadIdx.x], 0);
}

__global__ void outOfBoundsKernel(float* x, int at) { x[at] = 1; }

}  // namespace stepsize::cuda
