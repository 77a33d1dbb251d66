// Random fills and dropout. A Philox block gives four elements, so the numbers are those of the CPU. Uniform numbers
// and the mask of dropout agree to the bit; normal numbers differ by the rounding of the logarithm, the sine and the
// cosine. A fill writes 4 bytes per number. Dropout reads and writes each element once.
//
// Instructions per element on sm_90: 20 for uniform numbers and 18 for dropout in bfloat16. Ten of them are Philox: two
// multiplications and two exclusive ors for four numbers in each of ten rounds. A multiplication of 32 bits takes two
// cycles of its unit, so Philox takes 15 cycles per element. 4 bytes of memory traffic hide 27.
#pragma once

#include "../philox.h"
#include "grid_loops.cuh"

namespace stepsize::cuda {

// A seed and one of its streams. The keys are made once by the launcher and stay in constant memory.
struct RandomSource {
  PhiloxKeys keys;
  uint64_t stream;

  // The block with the word of element i.
  __device__ Philox4 blockAt(int64_t i, uint64_t ofStream) const {
    return philox(static_cast<uint64_t>(i) / 4, ofStream, keys);
  }
  // The random words of the elements from i on; several are a multiple of four.
  template <int Count>
  __device__ void words(int64_t i, uint32_t (&to)[Count]) const {
    words(i, stream, to);
  }
  template <int Count>
  __device__ void words(int64_t i, uint64_t ofStream, uint32_t (&to)[Count]) const {
    if constexpr (Count == 1) {
      const Philox4 block = blockAt(i, ofStream);
      to[0] = i % 4 == 0 ? block.word[0] : i % 4 == 1 ? block.word[1] : i % 4 == 2 ? block.word[2] : block.word[3];
    } else {
#pragma unroll
      for (int first = 0; first < Count; first += 4) {
        const Philox4 block = blockAt(i + first, ofStream);
#pragma unroll
        for (int j = 0; j < 4; j++) to[first + j] = block.word[j];
      }
    }
  }
};

// Uniform numbers in [low, high); `last` is the largest float below `high`.
__global__ void __launch_bounds__(kElementThreads, 6)
    uniformKernel(float* to, int64_t count, RandomSource source, float low, float high, float last) {
  forElements<kGroup<float>>(count, isAligned16(to), [&](int64_t i, auto elements) {
    constexpr int n = decltype(elements)::kCount;
    uint32_t words[n];
    source.words(i, words);
    float x[n];
#pragma unroll
    for (int j = 0; j < n; j++) {
      const float value = low + (high - low) * uniformFromBits(words[j]);
      x[j] = value < high ? value : last;
    }
    storeAligned(to + i, x);
  });
}

// Normal numbers by Box–Muller: two words give two numbers.
__global__ void __launch_bounds__(kElementThreads)
    normalKernel(float* to, int64_t count, RandomSource source, float mean, float deviation) {
  forElements<kGroup<float>>(count, isAligned16(to), [&](int64_t i, auto elements) {
    constexpr int n = decltype(elements)::kCount;
    uint32_t words[4];
    source.words(i / 4 * 4, words);
    float x[4];
#pragma unroll
    for (int pair = 0; pair < 4; pair += 2) {
      // 1 − u lies in (0, 1], so the logarithm is finite.
      const float radius = sqrtf(-2.0f * logf(1.0f - uniformFromBits(words[pair])));
      const float angle = 6.283185307f * uniformFromBits(words[pair + 1]);
      x[pair] = mean + deviation * (radius * cosf(angle));
      x[pair + 1] = mean + deviation * (radius * sinf(angle));
    }
    if constexpr (n == 4) {
      storeAligned(to + i, x);
    } else {
#pragma unroll
      for (int j = 0; j < 4; j++)
        if (j == i % 4) to[i] = x[j];
    }
  });
}

// out[i] = x[i]·scale if the random word of i is at least `first`, otherwise 0. `calls` is added to the stream; it may
// be null.
template <class T>
__global__ void __launch_bounds__(kElementThreads, 6)
    dropoutKernel(const T* x, const float* calls, T* out, int64_t count, RandomSource source, uint32_t first,
                  float scale) {
  const uint64_t stream = source.stream + (calls ? countOf(calls[0]) : 0);
  forElements<kGroup<T>>(count, areAligned(x, out), [&](int64_t i, auto elements) {
    constexpr int n = decltype(elements)::kCount;
    float values[n];
    loadAligned(x + i, values);
    uint32_t words[n];
    source.words(i, stream, words);
#pragma unroll
    for (int j = 0; j < n; j++) values[j] = words[j] >= first ? values[j] * scale : 0.0f;
    storeAligned(out + i, values);
  });
}

}  // namespace stepsize::cuda
