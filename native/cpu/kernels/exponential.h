// e^x for whole vectors. libm makes a call per element, and softmax, attention and SwiGLU consist mostly of
// exponentials.
#pragma once

#include "vector.h"

namespace stepsize::STEPSIZE_ISA {

typedef int32_t IntVec __attribute__((vector_size(4 * kLanes)));

// e^x = 2^n · e^r with n = round(x / ln 2) and |r| ≤ ln 2 / 2. e^r is its Taylor polynomial of degree 7, whose
// remainder is below 6e-9. The result is within 2 units in the last place. NaN stays NaN, overflow gives ∞, and
// underflow is gradual.
STEPSIZE_INLINE Vec exponential(Vec x) {
  // Beyond these limits the result is 0 or ∞ anyway, and n must stay small.
  x = x < broadcast(-104) ? broadcast(-104) : x;
  x = x > broadcast(89) ? broadcast(89) : x;
  // Adding 1.5·2^23 rounds to an integer and leaves that integer in the low bits.
  const Vec shifted = fma(x, broadcast(1.44269504f), broadcast(12582912.0f));
  const Vec n = shifted - broadcast(12582912.0f);
  // ln 2 is split in two. The first part is so short that n times it is exact even without a fused multiply-add.
  Vec r = fma(n, broadcast(-0.693359375f), x);
  r = fma(n, broadcast(2.12194440e-4f), r);
  constexpr float coefficients[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
  Vec p = broadcast(1.0f / 5040);
  for (float coefficient : coefficients) p = fma(p, r, broadcast(coefficient));
  // 2^n is applied as two factors, because it may lie outside the range of normal numbers.
  const IntVec exponent = reinterpret_cast<IntVec>(shifted) - 0x4B400000;
  const IntVec half = exponent >> 1;
  return p * reinterpret_cast<Vec>((half + 127) << 23) * reinterpret_cast<Vec>((exponent - half + 127) << 23);
}

// Applies f to `count` floats, vector by vector; a shorter last vector goes through a buffer. May work in place.
template <class F>
STEPSIZE_INLINE void mapVectors(const float* from, float* to, int64_t count, const F& f) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(to + i, f(load(from + i)));
  if (i == count) return;
  float buffer[kLanes] = {};
  for (int64_t j = i; j < count; j++) buffer[j - i] = from[j];
  store(buffer, f(load(buffer)));
  for (int64_t j = i; j < count; j++) to[j] = buffer[j - i];
}

STEPSIZE_INLINE float exponential(float x) {
  float lanes[kLanes];
  store(lanes, exponential(broadcast(x)));
  return lanes[0];
}

}  // namespace stepsize::STEPSIZE_ISA
