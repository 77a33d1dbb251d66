// One vector type and its operations, for the instruction set that this file is compiled for.
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(STEPSIZE_NEON)
#include <arm_neon.h>
#endif

#include "../invocation.h"

// Placed before a loop, says that no iteration reads what another one writes, so that the compiler may vectorise
// without a check.
#if defined(__clang__)
#define STEPSIZE_INDEPENDENT_ITERATIONS _Pragma("clang loop vectorize(assume_safety)")
#else
#define STEPSIZE_INDEPENDENT_ITERATIONS _Pragma("GCC ivdep")
#endif

namespace stepsize::STEPSIZE_ISA {

#if defined(__AVX512F__)
constexpr int kLanes = 16, kVectorRegisters = 32;
using Vec = __m512;
STEPSIZE_INLINE Vec load(const float* p) { return _mm512_loadu_ps(p); }
STEPSIZE_INLINE void store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
STEPSIZE_INLINE Vec broadcast(float x) { return _mm512_set1_ps(x); }
STEPSIZE_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
STEPSIZE_INLINE Vec bitwiseOr(Vec a, Vec b) { return _mm512_or_ps(a, b); }
#elif defined(__AVX2__)
constexpr int kLanes = 8, kVectorRegisters = 16;
using Vec = __m256;
STEPSIZE_INLINE Vec load(const float* p) { return _mm256_loadu_ps(p); }
STEPSIZE_INLINE void store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
STEPSIZE_INLINE Vec broadcast(float x) { return _mm256_set1_ps(x); }
STEPSIZE_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
STEPSIZE_INLINE Vec bitwiseOr(Vec a, Vec b) { return _mm256_or_ps(a, b); }
#else
constexpr int kLanes = 4;
typedef float Vec __attribute__((vector_size(16)));
typedef float UnalignedVec __attribute__((vector_size(16), aligned(4)));
typedef uint32_t BitsOfVec __attribute__((vector_size(16)));
STEPSIZE_INLINE Vec load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
STEPSIZE_INLINE void store(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }
STEPSIZE_INLINE Vec broadcast(float x) { return Vec{x, x, x, x}; }
STEPSIZE_INLINE Vec bitwiseOr(Vec a, Vec b) {
  return reinterpret_cast<Vec>(reinterpret_cast<BitsOfVec>(a) | reinterpret_cast<BitsOfVec>(b));
}
#if defined(STEPSIZE_NEON)
constexpr int kVectorRegisters = 32;
STEPSIZE_INLINE Vec fma(Vec a, Vec b, Vec c) {
  return reinterpret_cast<Vec>(vfmaq_f32(float32x4_t(c), float32x4_t(a), float32x4_t(b)));
}
#else
constexpr int kVectorRegisters = 16;
// This rounds twice: without the instruction, a true fma is a library call per element.
STEPSIZE_INLINE Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
#endif
#endif

// Sums the lanes in a fixed order, so that the result has the same bits every time.
STEPSIZE_INLINE float sumLanes(Vec v) {
  float lanes[kLanes];
  store(lanes, v);
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; i++) lanes[i] += lanes[i + width];
  return lanes[0];
}

STEPSIZE_INLINE void copyFloats(float* __restrict__ to, const float* __restrict__ from, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(to + i, load(from + i));
  for (; i < count; i++) to[i] = from[i];
}

STEPSIZE_INLINE void zeroFloats(float* to, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(to + i, broadcast(0));
  for (; i < count; i++) to[i] = 0;
}

STEPSIZE_INLINE int64_t ceilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }
STEPSIZE_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
STEPSIZE_INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// Calls f(index) for every index below count on the device's threads.
template <class F>
STEPSIZE_INLINE void parallelFor(const Invocation& call, int64_t count, const F& f) {
  if (count == 1) return f(0);
  if (count > 0)
    call.parallel(
        count, [](void* context, int64_t index) { (*static_cast<const F*>(context))(index); },
        const_cast<void*>(static_cast<const void*>(&f)));
}

// The elements of a task: enough that starting a task costs nothing in comparison, few enough to stay in the L2 cache.
constexpr int64_t kChunk = 1 << 14;

// Calls f(from, to) for fixed chunks of [0, count), one chunk per task. The chunks do not depend on the number of
// threads, so reductions may keep a partial result per chunk.
template <class F>
STEPSIZE_INLINE void parallelChunks(const Invocation& call, int64_t count, int64_t chunk, const F& f) {
  parallelFor(call, ceilDivide(count, chunk), [&](int64_t i) { f(i * chunk, least(count, (i + 1) * chunk)); });
}

}  // namespace stepsize::STEPSIZE_ISA
