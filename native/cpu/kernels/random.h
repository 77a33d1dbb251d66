// Random fills and dropout. Element i uses word i mod 4 of Philox block i / 4, so the numbers do not depend on how the
// work is divided.
#pragma once

#include <math.h>

#include "../../operations_attributes.h"
#include "../../philox.h"
#include "vector.h"

namespace stepsize::STEPSIZE_ISA {

// Calls f(i, random bits of element i).
template <class F>
STEPSIZE_INLINE void forBits(const Invocation& call, int64_t count, uint64_t key, uint64_t high, const F& f) {
  parallelChunks(call, count, kChunk, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i += 4) {
      const Philox4 block = philox(static_cast<uint64_t>(i) / 4, high, key);
      const int64_t words = least(4, to - i);
      for (int64_t j = 0; j < words; j++) f(i + j, block.word[j]);
    }
  });
}

inline void uniform(const Invocation& call) {
  float* to = call.input(0).floats();
  const float low = call.number(attribute::uniform::low), high = call.number(attribute::uniform::high);
  // The sum may round up to `high`, which is not in the range.
  const float last = nextafterf(high, low);
  forBits(call, call.input(0).elements(), static_cast<uint64_t>(call.integer(attribute::uniform::seed)),
          static_cast<uint64_t>(call.integer(attribute::uniform::stream)), [=](int64_t i, uint32_t bits) {
            const float value = low + (high - low) * uniformFromBits(bits);
            to[i] = value < high ? value : last;
          });
}

// Box–Muller: two words give two normal numbers.
inline void normal(const Invocation& call) {
  float* to = call.input(0).floats();
  const int64_t count = call.input(0).elements();
  const float mean = call.number(attribute::normal::mean), deviation = call.number(attribute::normal::deviation);
  const auto key = static_cast<uint64_t>(call.integer(attribute::normal::seed));
  const auto high = static_cast<uint64_t>(call.integer(attribute::normal::stream));
  parallelChunks(call, count, kChunk, [&](int64_t from, int64_t end) {
    for (int64_t i = from; i < end; i += 4) {
      const Philox4 block = philox(static_cast<uint64_t>(i) / 4, high, key);
      float values[4];
      for (int pair = 0; pair < 4; pair += 2) {
        // 1 − u lies in (0, 1], so the logarithm is finite.
        const float radius = __builtin_sqrtf(-2.0f * logf(1.0f - uniformFromBits(block.word[pair])));
        const float angle = 6.283185307f * uniformFromBits(block.word[pair + 1]);
        values[pair] = radius * cosf(angle);
        values[pair + 1] = radius * sinf(angle);
      }
      for (int64_t j = 0; j < least(4, end - i); j++) to[i + j] = mean + deviation * values[j];
    }
  });
}

// The gradient of dropout is the same operation with the same seed on the incoming gradient, so the mask is never
// stored.
inline void dropout(const Invocation& call) {
  const float* x = call.input(0).floats();
  float* out = call.output(0).floats();
  const float probability = call.number(attribute::dropout::probability);
  const float scale = probability < 1 ? 1 / (1 - probability) : 0;
  auto stream = static_cast<uint64_t>(call.integer(attribute::dropout::stream));
  if (call.inputs > 1) stream += countOf(call.input(1).floats()[0]);
  forBits(call, call.input(0).elements(), static_cast<uint64_t>(call.integer(attribute::dropout::seed)), stream,
          [=](int64_t i, uint32_t bits) { out[i] = uniformFromBits(bits) >= probability ? x[i] * scale : 0; });
}

}  // namespace stepsize::STEPSIZE_ISA
