// The norm of the gradient, √Σ g² over all tensors, summed in the order of update/norm.h. A block takes every
// gridDim.x-th chunk of 16,384 elements. Each gradient is read once: 4 bytes per parameter, or 2 in bfloat16.
#pragma once

#include "../update/norm.h"
#include "block_reduce.cuh"
#include "platform.cuh"
#include "update_tables.h"
#include "vector_access.cuh"

namespace stepsize::cuda {

constexpr int kNormThreads = update::kNormValues;

// The sum of the squares that belong to this thread: thread t has lanes 4t to 4t + 3. `seen` collects the bits of all
// elements, without the signs.
template <bool Scaled, class Gradient>
__device__ __forceinline__ float threadSumOfSquares(const Gradient* gradient, uint32_t count, float scale,
                                                    uint32_t& seen) {
  float lanes[4] = {0, 0, 0, 0};
  const auto add = [&](int lane, float element) {
    const float x = Scaled ? element * scale : element;
    if (!Scaled) seen |= bitsOfFloat(element) & 0x7fffffffu;
    lanes[lane] = fmaf(x, x, lanes[lane]);
  };
  const bool aligned = isAligned16(gradient);
  uint32_t i = threadIdx.x * 4;
  for (; i + 4 <= count; i += update::kNormLanes) {
    float x[4];
    load(gradient + i, aligned, x);
#pragma unroll
    for (int lane = 0; lane < 4; lane++) add(lane, x[lane]);
  }
  // The last group of a chunk may have fewer than four elements.
#pragma unroll
  for (int lane = 0; lane < 4; lane++) add(lane, i + lane < count ? toFloat(gradient[i + lane]) : 0.0f);
  return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

// Σ g² over a chunk, for every thread of its block.
template <class Gradient>
__device__ __forceinline__ double chunkSumOfSquares(const Gradient* gradient, uint32_t count) {
  uint32_t seen = 0;
  float sum = blockSum<kNormThreads>(threadSumOfSquares<false>(gradient, count, 1, seen));
  // Every thread has the same sum, so all threads of a block take the same branch.
  const bool small = sum < update::kLeastSum;
  const bool hasValues = small && blockMax<kNormThreads>(seen != 0 ? 1.0f : 0.0f) > 0;
  const float scale = update::normScale(sum, hasValues);
  if (scale != 1.0f) sum = blockSum<kNormThreads>(threadSumOfSquares<true>(gradient, count, scale, seen));
  return update::unscaledSum(sum, scale);
}

// Writes one partial sum per chunk; the block that finishes last adds them in order, so the bits do not depend on the
// number of blocks. `gradients` has one address per tensor. `finished` is 0 before and after.
template <class Gradient>
__global__ void __launch_bounds__(kNormThreads)
    gradientNormKernel(const Chunk* chunks, uint32_t chunkCount, void* const* gradients, double* partial,
                       unsigned* finished, double* norm) {
  for (uint32_t c = blockIdx.x; c < chunkCount; c += gridDim.x) {
    const Chunk chunk = chunks[c];
    const auto* gradient = inGlobalMemory(static_cast<const Gradient*>(gradients[chunk.tensor]) + chunk.offset);
    const double sum = chunkSumOfSquares(gradient, chunk.count);
    if (threadIdx.x == 0) partial[c] = sum;
  }
  if (!isLastBlock(finished)) return;
  double sum = 0;
  for (uint32_t c = threadIdx.x; c < chunkCount; c += kNormThreads) sum += readPast(partial + c);
  sum = blockSum<kNormThreads>(sum);
  if (threadIdx.x == 0) {
    *norm = sqrt(sum);
    *finished = 0;
  }
}

}  // namespace stepsize::cuda
