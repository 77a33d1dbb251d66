// Correct kernels, each the smallest example of one feature. nvcc compiles them unchanged.
#pragma once

#include "../../native/cuda/platform.cuh"

namespace stepsize::examples {

constexpr int kThreads = 128;
constexpr int kTile = 16;

// sum = a + b: four elements at a time, then the remaining ones.
__global__ void __launch_bounds__(kThreads)
    addVectors(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ sum, int n) {
  const int i = blockIdx.x * kThreads + threadIdx.x;
  if (i < n / 4) {
    const float4 x = reinterpret_cast<const float4*>(a)[i];
    const float4 y = reinterpret_cast<const float4*>(b)[i];
    reinterpret_cast<float4*>(sum)[i] = make_float4(x.x + y.x, x.y + y.y, x.z + y.z, x.w + y.w);
  }
  const int tail = n / 4 * 4 + i;
  if (tail < n) sum[tail] = a[tail] + b[tail];
}

__device__ __forceinline__ float sumOfWarp(float value) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes >>= 1) value += __shfl_xor_sync(0xffffffffu, value, lanes);
  return value;
}

// The sum over the block, for every thread.
__device__ __forceinline__ float sumOfBlock(float value) {
  STEPSIZE_SHARED(float, partial, [kThreads / 32]);
  const int lane = threadIdx.x % 32;
  value = sumOfWarp(value);
  if (lane == 0) partial[threadIdx.x / 32] = value;
  __syncthreads();
  value = sumOfWarp(lane < kThreads / 32 ? partial[lane] : 0.0f);
  __syncthreads();  // before a thread writes to `partial` again
  return value;
}

__global__ void __launch_bounds__(kThreads) sumBlocks(const float* __restrict__ x, int n, float* __restrict__ sums) {
  const int i = blockIdx.x * kThreads + threadIdx.x;
  const float sum = sumOfBlock(i < n ? x[i] : 0.0f);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// The last block to finish adds the partial sums of all blocks; the order of the additions does not depend on which
// block that is.
__global__ void __launch_bounds__(kThreads)
    sumAll(const float* __restrict__ x, int n, float* partial, unsigned* finished, float* total) {
  STEPSIZE_SHARED(int, isLast, [1]);
  float sum = 0;
  for (int i = blockIdx.x * kThreads + threadIdx.x; i < n; i += gridDim.x * kThreads) sum += x[i];
  sum = sumOfBlock(sum);
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = sum;
    __threadfence();
    isLast[0] = atomicAdd(finished, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (!isLast[0]) return;
  __threadfence();
  sum = 0;
  for (unsigned i = threadIdx.x; i < gridDim.x; i += kThreads) sum += static_cast<volatile float*>(partial)[i];
  sum = sumOfBlock(sum);
  if (threadIdx.x == 0) {
    *total = sum;
    *finished = 0;  // ready for the next launch
  }
}

// The tile is one wider than high, so that the elements of a column lie in different banks.
__global__ void __launch_bounds__(kTile* kTile)
    transpose(const float* __restrict__ in, float* __restrict__ out, int rows, int columns) {
  STEPSIZE_SHARED(float, tile, [kTile][kTile + 1]);
  const int row = blockIdx.y * kTile + threadIdx.y, column = blockIdx.x * kTile + threadIdx.x;
  if (row < rows && column < columns) tile[threadIdx.y][threadIdx.x] = in[row * columns + column];
  __syncthreads();
  const int outRow = blockIdx.x * kTile + threadIdx.y, outColumn = blockIdx.y * kTile + threadIdx.x;
  if (outRow < columns && outColumn < rows) out[outRow * rows + outColumn] = tile[threadIdx.x][threadIdx.y];
}

// A block reverses its stretch of the input, in shared memory whose size the launch sets.
template <class T>
__global__ void reverseStretches(const T* __restrict__ in, T* __restrict__ out) {
  STEPSIZE_DYNAMIC_SHARED(T, stretch);
  const size_t from = static_cast<size_t>(blockIdx.x) * blockDim.x;
  stretch[threadIdx.x] = in[from + threadIdx.x];
  __syncthreads();
  out[from + threadIdx.x] = stretch[blockDim.x - 1 - threadIdx.x];
}

}  // namespace stepsize::examples
