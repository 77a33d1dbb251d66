// Elementwise operations. They are memory-bound: each reads its operands once and writes its result once.
#pragma once

#include <string.h>

#include "../../element_types.h"
#include "../../operations_attributes.h"
#include "../../pointwise.h"
#include "vector.h"

namespace stepsize::STEPSIZE_ISA {

// out[i] = f(a[i])
template <class F>
STEPSIZE_INLINE void mapUnary(const Invocation& call, const F& f) {
  const float* __restrict__ a = call.input(0).floats();
  float* __restrict__ out = call.output(0).floats();
  parallelChunks(call, call.output(0).elements(), kChunk, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) out[i] = f(a[i]);
  });
}

// out[i] = f(large[i], small[i mod period]): the small operand repeats along the leading axes of the large one.
template <class F>
STEPSIZE_INLINE void mapRepeated(const Invocation& call, const TensorView& large, const TensorView& small, const F& f) {
  const float* __restrict__ a = large.floats();
  const float* __restrict__ b = small.floats();
  float* __restrict__ out = call.output(0).floats();
  const int64_t count = large.elements(), period = small.elements();
  if (period == count) {
    parallelChunks(call, count, kChunk, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; i++) out[i] = f(a[i], b[i]);
    });
  } else if (period == 1) {
    const float value = b[0];
    parallelChunks(call, count, kChunk, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; i++) out[i] = f(a[i], value);
    });
  } else if (period > 0) {
    parallelChunks(call, count / period, most(1, kChunk / period), [&](int64_t from, int64_t to) {
      for (int64_t row = from; row < to; row++)
        for (int64_t j = 0; j < period; j++) out[row * period + j] = f(a[row * period + j], b[j]);
    });
  }
}

template <class F>
STEPSIZE_INLINE void mapBinary(const Invocation& call, const F& f) {
  const TensorView& a = call.input(0);
  const TensorView& b = call.input(1);
  if (a.shape.rank >= b.shape.rank)
    mapRepeated(call, a, b, f);
  else
    mapRepeated(call, b, a, pointwise::Swapped<F>{f});
}

inline void add(const Invocation& call) { mapBinary(call, pointwise::Add{}); }
inline void subtract(const Invocation& call) { mapBinary(call, pointwise::Subtract{}); }
inline void multiply(const Invocation& call) { mapBinary(call, pointwise::Multiply{}); }
inline void divide(const Invocation& call) { mapBinary(call, pointwise::Divide{}); }
inline void addRelu(const Invocation& call) { mapBinary(call, pointwise::AddRelu{}); }
inline void reluGradient(const Invocation& call) { mapBinary(call, pointwise::ReluGradient{}); }

inline void affine(const Invocation& call) {
  mapUnary(call, pointwise::Affine{call.number(attribute::affine::scale), call.number(attribute::affine::shift)});
}
inline void exp(const Invocation& call) { mapUnary(call, pointwise::Exp{}); }
inline void log(const Invocation& call) { mapUnary(call, pointwise::Log{}); }
inline void sqrt(const Invocation& call) { mapUnary(call, pointwise::Sqrt{}); }
inline void square(const Invocation& call) { mapUnary(call, pointwise::Square{}); }
inline void tanh(const Invocation& call) { mapUnary(call, pointwise::Tanh{}); }
inline void sigmoid(const Invocation& call) { mapUnary(call, pointwise::Sigmoid{}); }
inline void relu(const Invocation& call) { mapUnary(call, pointwise::Relu{}); }
inline void gelu(const Invocation& call) { mapUnary(call, pointwise::Gelu{}); }
inline void geluGradient(const Invocation& call) { mapBinary(call, pointwise::GeluGradient{}); }
inline void silu(const Invocation& call) { mapUnary(call, pointwise::Silu{}); }
inline void siluGradient(const Invocation& call) { mapBinary(call, pointwise::SiluGradient{}); }

inline void fill(const Invocation& call) {
  const TensorView& to = call.input(0);
  const double value = call.attributes[attribute::fill::value];
  parallelChunks(call, to.elements(), kChunk, [&](int64_t from, int64_t end) {
    visitType(to.type, [&](auto zero) {
      using T = decltype(zero);
      const T element = castElement<T>(value);
      for (int64_t i = from; i < end; i++) to.as<T>()[i] = element;
    });
  });
}

inline void copy(const Invocation& call) {
  const TensorView& from = call.input(1);
  if (from.bytes() > 0) memcpy(call.input(0).data, from.data, static_cast<size_t>(from.bytes()));
}

template <class To, class From>
STEPSIZE_INLINE void castElements(const Invocation& call, const From* __restrict__ from, To* __restrict__ to,
                                  int64_t count) {
  parallelChunks(call, count, kChunk, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; i++) to[i] = castElement<To>(from[i]);
  });
}

inline void cast(const Invocation& call) {
  const TensorView &from = call.input(0), &to = call.output(0);
  visitType(to.type, [&](auto target) {
    visitType(from.type, [&](auto source) {
      castElements(call, from.as<decltype(source)>(), to.as<decltype(target)>(), from.elements());
    });
  });
}

}  // namespace stepsize::STEPSIZE_ISA
