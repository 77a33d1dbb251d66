// Random numbers and dropout. A thread takes one Philox block, four elements, so the numbers are those of the CPU:
// uniform ones and dropout's mask to the bit, normal ones but for the rounding of the logarithm and the cosine.
#pragma once

#include "../element_types.h"
#include "../philox.h"
#include "grid_loop.cuh"

namespace stepsize::cuda {

constexpr int kRandomThreads = 256;

// Which numbers: a seed and one of its streams.
struct RandomSource {
  uint64_t seed, stream;
};

// Calls f(index of the first element, four words) for each of this thread's blocks.
template <class F>
__device__ __forceinline__ void forPhiloxBlocks(int64_t count, const RandomSource& source, const F& f) {
  forGrid<kRandomThreads>((count + 3) / 4, [&](int64_t block) {
    f(block * 4, philox(static_cast<uint64_t>(block), source.stream, source.seed));
  });
}

__global__ void __launch_bounds__(kRandomThreads)
    uniformKernel(float* to, int64_t count, RandomSource source, float low, float high, float last) {
  forPhiloxBlocks(count, source, [&](int64_t i, const Philox4& block) {
    for (int j = 0; j < 4 && i + j < count; j++) {
      const float value = low + (high - low) * uniformFromBits(block.word[j]);
      to[i + j] = value < high ? value : last;
    }
  });
}

// Box–Muller: two words give two normal numbers.
__global__ void __launch_bounds__(kRandomThreads)
    normalKernel(float* to, int64_t count, RandomSource source, float mean, float deviation) {
  forPhiloxBlocks(count, source, [&](int64_t i, const Philox4& block) {
#pragma unroll
    for (int pair = 0; pair < 4; pair += 2) {
      // 1 − u lies in (0, 1], so the logarithm is finite.
      const float radius = sqrtf(-2.0f * logf(1.0f - uniformFromBits(block.word[pair])));
      const float angle = 6.283185307f * uniformFromBits(block.word[pair + 1]);
      if (i + pair < count) to[i + pair] = mean + deviation * (radius * cosf(angle));
      if (i + pair + 1 < count) to[i + pair + 1] = mean + deviation * (radius * sinf(angle));
    }
  });
}

// calls: added to the stream; may be null.
template <class T>
__global__ void __launch_bounds__(kRandomThreads) dropoutKernel(const T* x, const float* calls, T* out, int64_t count,
                                                                RandomSource source, float probability, float scale) {
  if (calls) source.stream += static_cast<uint64_t>(calls[0]);
  forPhiloxBlocks(count, source, [&](int64_t i, const Philox4& block) {
    for (int j = 0; j < 4 && i + j < count; j++)
      out[i + j] = castElement<T>(uniformFromBits(block.word[j]) >= probability ? toFloat(x[i + j]) * scale : 0.0f);
  });
}

}  // namespace stepsize::cuda
