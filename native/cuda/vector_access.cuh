// Loads and stores several neighbouring elements, at once if they are aligned and one by one otherwise. Loads widen to
// float32. Four or eight float32 and eight bfloat16 move 16 bytes at a time, four bfloat16 move 8.
#pragma once

#include "../bfloat16.h"
#include "platform.cuh"

namespace stepsize::cuda {

// Returns `p`, which must point to global memory. The compiler cannot know this of an address from a table, and would
// emit generic loads and stores, which determine the address space at each access.
template <class T>
__device__ __forceinline__ T* inGlobalMemory(T* p) {
#if defined(__CUDA_ARCH__)
  __builtin_assume(__isGlobal(p));
#endif
  return p;
}

// Whether the elements are bfloat16.
template <class T>
constexpr bool isBFloat16 = sizeof(T) == sizeof(BFloat16);

template <class A, class B>
constexpr bool isSame = false;
template <class A>
constexpr bool isSame<A, A> = true;

// Whether an address is a multiple of 16.
__device__ __forceinline__ bool isAligned16(const void* p) { return (reinterpret_cast<uintptr_t>(p) & 15) == 0; }

// Load or store 1, 4, 8 or 16 neighbouring elements. Several must be aligned to 16 bytes, or to their size if it is
// smaller.
template <int Count>
__device__ __forceinline__ void loadAligned(const float* from, float (&x)[Count]) {
  if constexpr (Count == 1) {
    x[0] = *from;
  } else {
#pragma unroll
    for (int i = 0; i < Count; i += 4) {
      const float4 four = *reinterpret_cast<const float4*>(from + i);
      x[i] = four.x;
      x[i + 1] = four.y;
      x[i + 2] = four.z;
      x[i + 3] = four.w;
    }
  }
}

template <int Count>
__device__ __forceinline__ void storeAligned(float* to, const float (&x)[Count]) {
  if constexpr (Count == 1) {
    *to = x[0];
  } else {
#pragma unroll
    for (int i = 0; i < Count; i += 4)
      __stcg(reinterpret_cast<float4*>(to + i), make_float4(x[i], x[i + 1], x[i + 2], x[i + 3]));
  }
}

// The same in shared memory.
template <int Count>
__device__ __forceinline__ void storeShared(float* to, const float (&x)[Count]) {
#pragma unroll
  for (int i = 0; i < Count; i += 4)
    *reinterpret_cast<float4*>(to + i) = make_float4(x[i], x[i + 1], x[i + 2], x[i + 3]);
}

// Two bfloat16 in a word; the first one is in the lower half.
__device__ __forceinline__ float lowerHalf(unsigned word) { return floatOfBits(word << 16); }
__device__ __forceinline__ float upperHalf(unsigned word) { return floatOfBits(word & 0xffff0000u); }
__device__ __forceinline__ unsigned asWord(BFloat16 lower, BFloat16 upper) {
  return static_cast<unsigned>(lower.bits) | static_cast<unsigned>(upper.bits) << 16;
}
// Two floats rounded by one instruction (cvt.rn.bf16x2.f32). The bits are those of toBFloat16 for every value.
__device__ __forceinline__ unsigned roundedPair(float lower, float upper) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(lower, upper);
  unsigned word = 0;
  __builtin_memcpy(&word, &pair, sizeof word);
  return word;
}

// Two bfloat16 per word.
template <int Words>
__device__ __forceinline__ void widen(const unsigned (&words)[Words], float (&x)[2 * Words]) {
#pragma unroll
  for (int w = 0; w < Words; w++) {
    x[2 * w] = lowerHalf(words[w]);
    x[2 * w + 1] = upperHalf(words[w]);
  }
}

__device__ __forceinline__ void loadAligned(const BFloat16* from, float (&x)[1]) { x[0] = toFloat(*from); }

__device__ __forceinline__ void loadAligned(const BFloat16* from, float (&x)[4]) {
  const uint2 words = *reinterpret_cast<const uint2*>(from);
  widen({words.x, words.y}, x);
}

__device__ __forceinline__ void loadAligned(const BFloat16* from, float (&x)[8]) {
  const uint4 words = *reinterpret_cast<const uint4*>(from);
  widen({words.x, words.y, words.z, words.w}, x);
}

__device__ __forceinline__ void loadAligned(const BFloat16* from, float (&x)[16]) {
  const uint4 first = *reinterpret_cast<const uint4*>(from), second = *reinterpret_cast<const uint4*>(from + 8);
  widen({first.x, first.y, first.z, first.w, second.x, second.y, second.z, second.w}, x);
}

__device__ __forceinline__ void storeAligned(BFloat16* to, const BFloat16 (&x)[4]) {
  __stcg(reinterpret_cast<uint2*>(to), make_uint2(asWord(x[0], x[1]), asWord(x[2], x[3])));
}

__device__ __forceinline__ void storeAligned(BFloat16* to, const BFloat16 (&x)[8]) {
  __stcg(reinterpret_cast<uint4*>(to),
         make_uint4(asWord(x[0], x[1]), asWord(x[2], x[3]), asWord(x[4], x[5]), asWord(x[6], x[7])));
}

// Round and store.
__device__ __forceinline__ void storeAligned(BFloat16* to, const float (&x)[1]) { *to = toBFloat16(x[0]); }

__device__ __forceinline__ void storeAligned(BFloat16* to, const float (&x)[4]) {
  __stcg(reinterpret_cast<uint2*>(to), make_uint2(roundedPair(x[0], x[1]), roundedPair(x[2], x[3])));
}

// Eight floats, rounded.
__device__ __forceinline__ uint4 roundedEight(const float* x) {
  return make_uint4(roundedPair(x[0], x[1]), roundedPair(x[2], x[3]), roundedPair(x[4], x[5]), roundedPair(x[6], x[7]));
}

__device__ __forceinline__ void storeAligned(BFloat16* to, const float (&x)[8]) {
  __stcg(reinterpret_cast<uint4*>(to), roundedEight(x));
}

__device__ __forceinline__ void storeAligned(BFloat16* to, const float (&x)[16]) {
  __stcg(reinterpret_cast<uint4*>(to), roundedEight(x));
  __stcg(reinterpret_cast<uint4*>(to + 8), roundedEight(x + 8));
}

template <class T, int Count>
__device__ __forceinline__ void load(const T* from, bool aligned, float (&x)[Count]) {
  if (aligned) {
    loadAligned(from, x);
  } else {
#pragma unroll
    for (int i = 0; i < Count; i++) x[i] = toFloat(from[i]);
  }
}

template <class T, int Count>
__device__ __forceinline__ void store(T* to, bool aligned, const T (&x)[Count]) {
  if (aligned) {
    storeAligned(to, x);
  } else {
#pragma unroll
    for (int i = 0; i < Count; i++) to[i] = x[i];
  }
}

// Elements in their storage type, to be moved at once.
template <class T, int Count>
struct alignas(Count * sizeof(T) < 16 ? Count * sizeof(T) : 16) Stored {
  T value[Count];
};

template <class T>
using Four = Stored<T, 4>;

}  // namespace stepsize::cuda
