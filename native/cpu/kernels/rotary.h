// Rotary position embedding (Su et al., RoFormer, 2021): the pair (x[i], x[i + size/2]) of a head at position p is
// rotated by the angle p·base^(−2i/size). The gradient rotates back.
#pragma once

#include <math.h>

#include "../../operations_attributes.h"
#include "vector.h"

namespace stepsize::STEPSIZE_ISA {

// x is [batch, length, heads, size]. Reads and writes each element once; cosines and sines are computed once per
// position.
inline void rotary(const Invocation& call) {
  const TensorView& x = call.input(0);
  const int64_t length = x.shape[1], heads = x.shape[2], size = x.shape[3], half = size / 2;
  const double base = call.attributes[attribute::rotary::base];
  const float direction = call.integer(attribute::rotary::inverse) != 0 ? -1.0f : 1.0f;
  float* cosines = static_cast<float*>(call.workspace(most(1, 2 * length * half) * 4));
  float* sines = cosines + length * half;
  // Angles are float64, because at position 10^5 a float32 angle is wrong by a hundredth.
  for (int64_t i = 0; i < half; i++) {
    const double frequency = ::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(size));
    for (int64_t p = 0; p < length; p++) {
      const double angle = static_cast<double>(p) * frequency;
      cosines[p * half + i] = static_cast<float>(::cos(angle));
      sines[p * half + i] = direction * static_cast<float>(::sin(angle));
    }
  }
  parallelChunks(call, x.shape[0] * length, most(1, kChunk / most(1, heads * size)), [&](int64_t from, int64_t to) {
    for (int64_t position = from; position < to; position++) {
      const float* __restrict__ c = cosines + position % length * half;
      const float* __restrict__ s = sines + position % length * half;
      for (int64_t head = 0; head < heads; head++) {
        const float* __restrict__ in = x.floats() + (position * heads + head) * size;
        float* __restrict__ out = call.output(0).floats() + (position * heads + head) * size;
        for (int64_t i = 0; i < half; i++) {
          out[i] = in[i] * c[i] - in[i + half] * s[i];
          out[i + half] = in[i + half] * c[i] + in[i] * s[i];
        }
      }
    }
  });
}

}  // namespace stepsize::STEPSIZE_ISA
