// Philox (native/philox.h) for many counters at a time.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(STEPSIZE_NEON)
#include <arm_neon.h>
#endif

#include "../../tensor_spec.h"

namespace stepsize::STEPSIZE_ISA {

// Several Philox blocks, one per 64-bit lane. A multiplication ignores the upper half of a lane and leaves both words
// of the product in the lane.
#if defined(__AVX512F__)
typedef uint64_t Wide __attribute__((vector_size(64)));
// The forms with masks, here of all lanes, are used because GCC 12 warns about the undefined operand inside the forms
// without.
STEPSIZE_INLINE Wide timesLower(Wide a, Wide b) { return Wide(_mm512_maskz_mul_epu32(0xff, __m512i(a), __m512i(b))); }
STEPSIZE_INLINE Wide evenLanes(Wide a, Wide b) {
  return Wide(_mm512_maskz_unpacklo_epi64(0xff, __m512i(a), __m512i(b)));
}
STEPSIZE_INLINE Wide oddLanes(Wide a, Wide b) {
  return Wide(_mm512_maskz_unpackhi_epi64(0xff, __m512i(a), __m512i(b)));
}
#elif defined(__AVX2__)
typedef uint64_t Wide __attribute__((vector_size(32)));
STEPSIZE_INLINE Wide timesLower(Wide a, Wide b) { return Wide(_mm256_mul_epu32(__m256i(a), __m256i(b))); }
STEPSIZE_INLINE Wide evenLanes(Wide a, Wide b) { return Wide(_mm256_unpacklo_epi64(__m256i(a), __m256i(b))); }
STEPSIZE_INLINE Wide oddLanes(Wide a, Wide b) { return Wide(_mm256_unpackhi_epi64(__m256i(a), __m256i(b))); }
#elif defined(__SSE2__)
typedef uint64_t Wide __attribute__((vector_size(16)));
STEPSIZE_INLINE Wide timesLower(Wide a, Wide b) { return Wide(_mm_mul_epu32(__m128i(a), __m128i(b))); }
STEPSIZE_INLINE Wide evenLanes(Wide a, Wide b) { return Wide(_mm_unpacklo_epi64(__m128i(a), __m128i(b))); }
STEPSIZE_INLINE Wide oddLanes(Wide a, Wide b) { return Wide(_mm_unpackhi_epi64(__m128i(a), __m128i(b))); }
#elif defined(STEPSIZE_NEON)
typedef uint64_t Wide __attribute__((vector_size(16)));
STEPSIZE_INLINE Wide timesLower(Wide a, Wide b) {
  return reinterpret_cast<Wide>(vmull_u32(vmovn_u64(uint64x2_t(a)), vmovn_u64(uint64x2_t(b))));
}
STEPSIZE_INLINE Wide evenLanes(Wide a, Wide b) { return Wide{a[0], b[0]}; }
STEPSIZE_INLINE Wide oddLanes(Wide a, Wide b) { return Wide{a[1], b[1]}; }
#else
typedef uint64_t Wide __attribute__((vector_size(16)));
STEPSIZE_INLINE Wide timesLower(Wide a, Wide b) { return (a & 0xffffffffu) * (b & 0xffffffffu); }
STEPSIZE_INLINE Wide evenLanes(Wide a, Wide b) { return Wide{a[0], b[0]}; }
STEPSIZE_INLINE Wide oddLanes(Wide a, Wide b) { return Wide{a[1], b[1]}; }
#endif
STEPSIZE_INLINE Wide inAllLanes(uint64_t x) { return Wide{} + x; }
constexpr int kWideLanes = sizeof(Wide) / 8;
// Several vectors go through the rounds together, because each mostly waits for its own products.
constexpr int kPhiloxVectors = 4;
constexpr int kPhiloxBlocks = kPhiloxVectors * kWideLanes;

// Writes the blocks that philox (native/philox.h) gives for kPhiloxBlocks counters from counterLow on.
STEPSIZE_INLINE void philoxBlocks(uint32_t* to, uint64_t counterLow, uint64_t counterHigh, uint64_t key) {
  // Every second lane holds a block of the upper half of a vector's blocks. At the end, two words of each block are put
  // beside the other two, which interleaves the lanes.
  Wide own{};
  for (uint64_t lane = 0; lane < kWideLanes; lane++) own[lane] = lane / 2 + lane % 2 * (kWideLanes / 2);
  Wide c0[kPhiloxVectors], c1[kPhiloxVectors], c2[kPhiloxVectors], c3[kPhiloxVectors];
  for (int v = 0; v < kPhiloxVectors; v++) {
    c0[v] = own + inAllLanes(counterLow + static_cast<uint64_t>(v * kWideLanes));
    c1[v] = c0[v] >> 32;
    c2[v] = inAllLanes(counterHigh);
    c3[v] = inAllLanes(counterHigh >> 32);
  }
  const Wide factor0 = inAllLanes(0xD2511F53u), factor1 = inAllLanes(0xCD9E8D57u);
  auto k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < 10; round++) {
    const Wide key0 = inAllLanes(k0), key1 = inAllLanes(k1);
    for (int v = 0; v < kPhiloxVectors; v++) {
      const Wide product0 = timesLower(c0[v], factor0), product1 = timesLower(c2[v], factor1);
      c0[v] = product1 >> 32 ^ c1[v] ^ key0;
      c2[v] = product0 >> 32 ^ c3[v] ^ key1;
      c1[v] = product1;
      c3[v] = product0;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  const Wide lower = inAllLanes(0xffffffffu);
  for (int v = 0; v < kPhiloxVectors; v++) {
    const Wide first = (c0[v] & lower) | c1[v] << 32, second = (c2[v] & lower) | c3[v] << 32;
    const Wide blocks[2] = {evenLanes(first, second), oddLanes(first, second)};
    __builtin_memcpy(to + 4 * v * kWideLanes, blocks, sizeof blocks);
  }
}

}  // namespace stepsize::STEPSIZE_ISA
