// Random fills and dropout. A thread computes one Philox block, four elements, at a time, so the numbers are those of
// the CPU. Uniform numbers and the mask of dropout agree to the bit; normal numbers differ by the rounding of the
// logarithm, the sine and the cosine. A fill writes 4 bytes per number. Dropout reads and writes each element once.
#pragma once

#include "../philox.h"
#include "grid_loops.cuh"

namespace stepsize::cuda {

constexpr int kRandomThreads = 256;

// A seed and one of its streams.
struct RandomSource {
  uint64_t seed, stream;
};

// Calls f(index of the first element, number of elements, four random words) for each of this thread's blocks.
template <class F>
__device__ __forceinline__ void forPhiloxBlocks(int64_t count, const RandomSource& source, const F& f) {
  forGrid<kRandomThreads>((count + 3) / 4, [&](int64_t block) {
    f(block * 4, static_cast<int>(min(int64_t{4}, count - block * 4)),
      philox(static_cast<uint64_t>(block), source.stream, source.seed));
  });
}

// Uniform numbers in [low, high); `last` is the largest float below `high`.
__global__ void __launch_bounds__(kRandomThreads)
    uniformKernel(float* to, int64_t count, RandomSource source, float low, float high, float last) {
  const bool aligned = isAligned16(to);
  forPhiloxBlocks(count, source, [&](int64_t i, int elements, const Philox4& block) {
    float x[4];
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const float value = low + (high - low) * uniformFromBits(block.word[j]);
      x[j] = value < high ? value : last;
    }
    storeGroup(to + i, aligned, elements, x);
  });
}

// Normal numbers by Box–Muller: two words give two numbers.
__global__ void __launch_bounds__(kRandomThreads)
    normalKernel(float* to, int64_t count, RandomSource source, float mean, float deviation) {
  const bool aligned = isAligned16(to);
  forPhiloxBlocks(count, source, [&](int64_t i, int elements, const Philox4& block) {
    float x[4];
#pragma unroll
    for (int pair = 0; pair < 4; pair += 2) {
      // 1 − u lies in (0, 1], so the logarithm is finite.
      const float radius = sqrtf(-2.0f * logf(1.0f - uniformFromBits(block.word[pair])));
      const float angle = 6.283185307f * uniformFromBits(block.word[pair + 1]);
      x[pair] = mean + deviation * (radius * cosf(angle));
      x[pair + 1] = mean + deviation * (radius * sinf(angle));
    }
    storeGroup(to + i, aligned, elements, x);
  });
}

// out[i] = x[i]·scale with probability 1 − `probability`, otherwise 0. `calls` is added to the stream; it may be null.
template <class T>
__global__ void __launch_bounds__(kRandomThreads) dropoutKernel(const T* x, const float* calls, T* out, int64_t count,
                                                                RandomSource source, float probability, float scale) {
  if (calls) source.stream += countOf(calls[0]);
  const bool aligned = isAligned16(x) && isAligned16(out);
  forPhiloxBlocks(count, source, [&](int64_t i, int elements, const Philox4& block) {
    float values[4] = {};
    loadGroup(x + i, aligned, elements, values);
#pragma unroll
    for (int j = 0; j < 4; j++) values[j] = uniformFromBits(block.word[j]) >= probability ? values[j] * scale : 0.0f;
    storeGroup(out + i, aligned, elements, values);
  });
}

}  // namespace stepsize::cuda
