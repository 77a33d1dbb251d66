// Elementwise operations. They are memory-bound: each reads its operands once and writes its result once.
#pragma once

#include <string.h>

#include "../../broadcast.h"
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

// Where a row of a broadcast result begins in the operands.
struct RowPlace {
  int64_t a = 0, b = 0;
  int64_t index[kMaxRank] = {};  // of the row along each axis

  STEPSIZE_INLINE RowPlace(const Broadcast& axes, int64_t row) {
    for (int axis = 1; axis < axes.rank; axis++) {
      index[axis] = row % axes.sizes[axis];
      row /= axes.sizes[axis];
      a += index[axis] * axes.strideA[axis];
      b += index[axis] * axes.strideB[axis];
    }
  }
  // The rows from here to the end of the last but one axis, at most `most`: each is one stride after the one before.
  STEPSIZE_INLINE int64_t run(const Broadcast& axes, int64_t most) const {
    return axes.rank < 2 ? 1 : least(most, axes.sizes[1] - index[1]);
  }
  // Moves to the row after these, which are at most a run.
  STEPSIZE_INLINE void skip(const Broadcast& axes, int64_t rows) {
    for (int axis = 1; axis < axes.rank; axis++, rows = 1) {
      a += rows * axes.strideA[axis];
      b += rows * axes.strideB[axis];
      index[axis] += rows;
      if (index[axis] < axes.sizes[axis]) return;
      a -= axes.sizes[axis] * axes.strideA[axis];
      b -= axes.sizes[axis] * axes.strideB[axis];
      index[axis] = 0;
    }
  }
};

// out[i] = f(a[i], b[i]) for rows of `count` elements, a stride apart in each operand. An operand that does not move
// has one element for a row.
template <class F>
STEPSIZE_INLINE void mapRows(const float* __restrict__ a, int64_t strideA, bool movesA, const float* __restrict__ b,
                             int64_t strideB, bool movesB, float* __restrict__ out, int64_t rows, int64_t count,
                             const F& f) {
  if (movesA && movesB) {
    for (; rows > 0; rows--, a += strideA, b += strideB, out += count)
      for (int64_t i = 0; i < count; i++) out[i] = f(a[i], b[i]);
  } else if (movesA) {
    for (; rows > 0; rows--, a += strideA, b += strideB, out += count) {
      const float value = *b;
      for (int64_t i = 0; i < count; i++) out[i] = f(a[i], value);
    }
  } else {
    for (; rows > 0; rows--, a += strideA, b += strideB, out += count) {
      const float value = *a;
      for (int64_t i = 0; i < count; i++) out[i] = f(value, b[i]);
    }
  }
}

// out = f(a, b), broadcast. A row of the last axis is a loop over vectors. Rows that are shorter than a vector gain
// nothing from it.
template <class F>
STEPSIZE_INLINE void mapBinary(const Invocation& call, const F& f) {
  const float* a = call.input(0).floats();
  const float* b = call.input(1).floats();
  float* out = call.output(0).floats();
  if (call.output(0).elements() == 0) return;
  const Broadcast axes(call.input(0).shape, call.input(1).shape);
  const bool movesA = axes.movesInnerA(), movesB = axes.movesInnerB();
  const int64_t inner = axes.inner(), rows = axes.rows();
  if (inner > kChunk) {
    // A task is a part of a row.
    const int64_t parts = ceilDivide(inner, kChunk);
    parallelFor(call, rows * parts, [&](int64_t task) {
      const int64_t row = task / parts, from = task % parts * kChunk;
      const RowPlace place(axes, row);
      mapRows(a + place.a + (movesA ? from : 0), 0, movesA, b + place.b + (movesB ? from : 0), 0, movesB,
              out + row * inner + from, 1, least(kChunk, inner - from), f);
    });
  } else {
    const int64_t strideA = axes.strideA[1];
    const int64_t strideB = axes.strideB[1];
    parallelChunks(call, rows, kChunk / inner, [&](int64_t from, int64_t to) {
      RowPlace place(axes, from);
      while (from < to) {
        const int64_t run = place.run(axes, to - from);
        mapRows(a + place.a, strideA, movesA, b + place.b, strideB, movesB, out + from * inner, run, inner, f);
        place.skip(axes, run);
        from += run;
      }
    });
  }
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
