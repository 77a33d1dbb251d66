// SwiGLU (Shazeer 2020): silu(gate)·up with silu(x) = x/(1 + e^−x). Memory-bound: each operand is read once and each
// result written once.
#pragma once

#include "exponential.h"

namespace stepsize::STEPSIZE_ISA {

STEPSIZE_INLINE Vec logistic(Vec x) { return broadcast(1) / (broadcast(1) + exponential(broadcast(0) - x)); }

inline void swiglu(const Invocation& call) {
  const float* gate = call.input(0).floats();
  const float* up = call.input(1).floats();
  float* out = call.output(0).floats();
  parallelChunks(call, call.input(0).elements(), kChunk, [&](int64_t from, int64_t to) {
    mapVectors(gate + from, out + from, to - from, [](Vec g) { return g * logistic(g); });
    for (int64_t i = from; i < to; i++) out[i] *= up[i];
  });
}

// dgate = g·up·σ·(1 + gate·(1 − σ)),  dup = g·gate·σ  with σ = 1/(1 + e^−gate)
inline void swigluGradient(const Invocation& call) {
  const float* gate = call.input(0).floats();
  const float* up = call.input(1).floats();
  const float* g = call.input(2).floats();
  float* dGate = call.output(0).floats();
  float* dUp = call.output(1).floats();
  parallelChunks(call, call.input(0).elements(), kChunk, [&](int64_t from, int64_t to) {
    mapVectors(gate + from, dUp + from, to - from, [](Vec x) { return logistic(x); });
    for (int64_t i = from; i < to; i++) {
      const float sigma = dUp[i];
      dGate[i] = g[i] * up[i] * (sigma * (1 + gate[i] * (1 - sigma)));
      dUp[i] = g[i] * (gate[i] * sigma);
    }
  });
}

}  // namespace stepsize::STEPSIZE_ISA
