// Kernels with one mistake each. The tests check that the emulator or a sanitizer finds it.
#pragma once

#include "../../native/cuda/platform.cuh"

namespace stepsize::faults {

constexpr int kThreads = 128;

// Reads what another thread wrote without waiting for it.
__global__ void missingBarrier(const float* in, float* out) {
  STEPSIZE_SHARED(float, all, [kThreads]);
  all[threadIdx.x] = in[threadIdx.x];
  out[threadIdx.x] = all[kThreads - 1 - threadIdx.x];
}

// Waits before it reads, but not before the next round overwrites values that other threads have yet to read.
__global__ void missingSecondBarrier(const float* in, float* out) {
  STEPSIZE_SHARED(float, all, [kThreads]);
  float sum = 0;
  for (int round = 0; round < 2; round++) {
    all[threadIdx.x] = in[round * kThreads + threadIdx.x];
    __syncthreads();
    sum += all[kThreads - 1 - threadIdx.x];
  }
  out[threadIdx.x] = sum;
}

__global__ void missingWarpBarrier(const float* in, float* out) {
  STEPSIZE_SHARED(float, all, [32]);
  all[threadIdx.x] = in[threadIdx.x];
  out[threadIdx.x] = all[31 - threadIdx.x];
}

// Orders the reads of one warp before the write, but not those of the other warps.
__global__ void warpBarrierForBlock(const float* in, float* out) {
  STEPSIZE_SHARED(float, one, [1]);
  if (threadIdx.x == 0) one[0] = in[0];
  __syncthreads();
  out[threadIdx.x] = one[0];
  __syncwarp();
  if (threadIdx.x == kThreads - 32) one[0] = 2;
}

// One lane overwrites a value that other lanes of its warp may have yet to read.
__global__ void overwritesWhatOthersRead(const float* in, float* out) {
  STEPSIZE_SHARED(float, one, [1]);
  if (threadIdx.x == 0) one[0] = in[0];
  __syncthreads();
  out[threadIdx.x] = one[0];
  if (threadIdx.x == 30) one[0] = 2;
}

// Adds to one element from every thread, without an atomic.
__global__ void plainAdd(float* sum) { sum[0] += 1; }

// Two blocks write the same elements.
__global__ void overlappingBlocks(float* out) { out[threadIdx.x] = static_cast<float>(blockIdx.x); }

// Computes only the whole blocks of a vector.
__global__ void lostTail(const float* a, const float* b, float* sum, int n) {
  const int i = blockIdx.x * kThreads + threadIdx.x;
  if (i < n / kThreads * kThreads) sum[i] = a[i] + b[i];
}

// Does not stop at the end of the vector.
__global__ void writesBeyondEnd(float* out) { out[blockIdx.x * kThreads + threadIdx.x] = 1; }

__global__ void writesBeyondShared(float* out) {
  STEPSIZE_SHARED(float, all, [kThreads]);
  all[threadIdx.x + 1] = 1;
  out[threadIdx.x] = all[threadIdx.x];
}

__global__ void writesBeyondDynamicShared(float* out) {
  STEPSIZE_DYNAMIC_SHARED(float, all);
  all[threadIdx.x] = 1;
  out[threadIdx.x] = all[threadIdx.x];
}

__global__ void storesMisaligned(float* out) {
  reinterpret_cast<float4*>(out + 1)[threadIdx.x] = make_float4(1, 2, 3, 4);
}

// Half the block waits at one barrier, a quarter at another.
__global__ void divergentBarrier(float* out) {
  if (threadIdx.x < 64)
    __syncthreads();
  else if (threadIdx.x < 96)
    __syncthreads();
  out[threadIdx.x] = 1;
}

// Some lanes wait for the whole warp in a shuffle, the others wait at a barrier.
__global__ void waitsForEachOther(float* out) {
  float value = 1;
  if (threadIdx.x % 32 < 20)
    value = __shfl_xor_sync(0xffffffffu, value, 1);
  else
    __syncthreads();
  out[threadIdx.x] = value;
}

// The mask of the lower half names that half, the mask of the upper half names all lanes.
__global__ void masksDisagree(float* out) {
  const unsigned mask = threadIdx.x < 16 ? 0x0000ffffu : 0xffffffffu;
  out[threadIdx.x] = __shfl_down_sync(mask, 1.0f, 8);
}

// Half of the warp shuffles while the other half votes.
__global__ void collectivesDiffer(float* out) {
  float value = 1;
  if (threadIdx.x < 16)
    value = __shfl_xor_sync(0xffffffffu, value, 1);
  else
    value = static_cast<float>(__ballot_sync(0xffffffffu, 1));
  out[threadIdx.x] = value;
}

__global__ void maskWithoutItself(float* out) { out[threadIdx.x] = __shfl_sync(0xfffffffeu, 1.0f, 1); }

__global__ void readsUnwrittenShared(float* out) {
  STEPSIZE_SHARED(float, all, [kThreads]);
  out[threadIdx.x] = all[threadIdx.x];
}

}  // namespace stepsize::faults
