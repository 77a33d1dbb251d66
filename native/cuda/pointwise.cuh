// Elementwise operations; T is the storage type. A thread takes 16 bytes of each operand at a time: four float32 or
// eight bfloat16. They are memory-bound. In float32, a map moves 8 bytes per element; a zip 12, or 8 if the second
// operand repeats and stays in the cache; an expansion 4; the gradient of SwiGLU 20. In bfloat16 they move half of
// that.
//
// Instructions per bfloat16 element on sm_90: 5 for a ReLU, 5.4 for a sum of two and 7.4 with a ReLU, half an
// instruction more if the second one repeats; 10 for SwiGLU, 19 for its gradient, 18 for GELU and 23 for its gradient.
// 6 bytes of memory traffic hide about 40. A sigmoid has an exponential and a reciprocal (approximations.h), of which a
// scheduler issues one in 8 cycles.
#pragma once

#include "../broadcast.h"
#include "../pointwise.h"
#include "divider.h"
#include "grid_loops.cuh"

namespace stepsize::cuda {

// out[i] = f(a[i])
template <class T, class F>
__global__ void __launch_bounds__(kElementThreads) mapKernel(const T* a, T* out, int64_t count, F f) {
  forElements<kGroup<T>>(count, areAligned(a, out), [&](int64_t i, auto elements) {
    constexpr int n = decltype(elements)::kCount;
    float x[n];
    loadAligned(a + i, x);
#pragma unroll
    for (int j = 0; j < n; j++) x[j] = f(x[j]);
    storeAligned(out + i, x);
  });
}

// out[i] = f(a[i], b[i])
//
// Without the number of blocks, ptxas saves registers in long functions, and loads b only when f needs it.
template <class T, class F>
__global__ void __launch_bounds__(kElementThreads, 4) zipKernel(const T* a, const T* b, T* out, int64_t count, F f) {
  forElements<kGroup<T>>(count, areAligned(a, b, out), [&](int64_t i, auto elements) {
    constexpr int n = decltype(elements)::kCount;
    float x[n], y[n];
    loadAligned(a + i, x);
    loadAligned(b + i, y);
#pragma unroll
    for (int j = 0; j < n; j++) x[j] = f(x[j], y[j]);
    storeAligned(out + i, x);
  });
}

// out[i] = f(a[i], b[i % period])
//
// If b has whole groups, it is walked in groups with a position of 32 bits. Otherwise the elements of b are loaded one
// by one, at 15 instructions per element.
template <class T, class F>
__global__ void __launch_bounds__(kElementThreads)
    zipRepeatedKernel(const T* a, const T* b, T* out, int64_t count, int64_t period, F f) {
  constexpr int group = kGroup<T>;
  const int64_t groups = period / group;
  if (period % group == 0 && groups <= UINT32_MAX && areAligned(a, b, out)) {
    // Both operands consist of groups, which are counted in 32 bits.
    forElements<1>(count / group, static_cast<unsigned>(groups), true, [&](int64_t i, unsigned at, auto) {
      float x[group], y[group];
      loadAligned(a + i * group, x);
      loadAligned(b + static_cast<int64_t>(at) * group, y);
#pragma unroll
      for (int j = 0; j < group; j++) x[j] = f(x[j], y[j]);
      storeAligned(out + i * group, x);
    });
    return;
  }
  forElements<group>(count, period, areAligned(a, out), [&](int64_t i, int64_t at, auto elements) {
    constexpr int n = decltype(elements)::kCount;
    float x[n], y[n];
    loadAligned(a + i, x);
    for (float& number : y) {
      number = toFloat(b[at]);
      at = at + 1 == period ? 0 : at + 1;
    }
#pragma unroll
    for (int j = 0; j < n; j++) x[j] = f(x[j], y[j]);
    storeAligned(out + i, x);
  });
}

// The axes of a broadcast (../broadcast.h), the last one first, for results of at most 2³¹ − 1 elements.
struct BroadcastAxes {
  int rank;
  Divider sizes[kMaxRank];
  int strideA[kMaxRank], strideB[kMaxRank];

  explicit BroadcastAxes(const Broadcast& axes) : rank(axes.rank), sizes(), strideA(), strideB() {
    for (int i = 0; i < rank; i++) {
      sizes[i] = Divider(static_cast<int>(axes.sizes[i]));
      strideA[i] = static_cast<int>(axes.strideA[i]);
      strideB[i] = static_cast<int>(axes.strideB[i]);
    }
  }

  // The elements of the operands that belong to element i of the result.
  __device__ __forceinline__ void find(int i, int& a, int& b) const {
    a = b = 0;
    // Unrolled, because an array of parameters that is indexed by a variable is copied to the stack.
#pragma unroll
    for (int axis = 0; axis < kMaxRank; axis++) {
      if (axis >= rank) break;
      // The first axis is not divided: what is left is its index.
      const int next = axis + 1 < rank ? sizes[axis].quotient(i) : 0;
      const int at = i - next * sizes[axis].divisor;
      a += at * strideA[axis];
      b += at * strideB[axis];
      i = next;
    }
  }
};

// Loads neighbouring elements, or one for all if `moves` is false.
template <class T, int Count>
__device__ __forceinline__ void loadMoving(const T* from, bool moves, float (&x)[Count]) {
  if (moves) return loadAligned(from, x);
  const float value = toFloat(*from);
#pragma unroll
  for (float& number : x) number = value;
}

// out = f(a, b), broadcast along any axes. A group lies in one row of the last axis. On sm_90, the search for its
// operands takes about 15 instructions per axis, so 45 for the 8 bfloat16 of a group with three axes.
template <class T, class F>
__global__ void __launch_bounds__(kElementThreads)
    zipBroadcastKernel(const T* a, const T* b, T* out, int count, BroadcastAxes axes, F f) {
  constexpr int group = kGroup<T>;
  const bool movesA = axes.strideA[0] != 0, movesB = axes.strideB[0] != 0;
  const bool aligned = axes.sizes[0].divisor % group == 0 && isAligned16(out) && (!movesA || isAligned16(a)) &&
                       (!movesB || isAligned16(b));
  forElements<group>(count, aligned, [&](int64_t first, auto elements) {
    constexpr int n = decltype(elements)::kCount;
    int atA = 0, atB = 0;
    axes.find(static_cast<int>(first), atA, atB);
    float x[n], y[n];
    loadMoving(a + atA, movesA, x);
    loadMoving(b + atB, movesB, y);
#pragma unroll
    for (int j = 0; j < n; j++) x[j] = f(x[j], y[j]);
    storeAligned(out + first, x);
  });
}

// Repeats a [outer, inner] `size` times along a new axis between the two, and scales it. Index has 32 bits if these
// suffice, because 64-bit divisions take longer than the memory access. A group lies in one row of `inner` numbers, or
// repeats one number.
template <class T, class Index>
__global__ void __launch_bounds__(kElementThreads)
    expandKernel(const T* a, T* out, int64_t count, Index size, Index inner, float scale) {
  constexpr int group = kGroup<T>;
  const bool inRow = isAligned16(a) && inner % group == 0, isOne = inner == 1 && size % group == 0;
  forElements<group>(count, isAligned16(out) && (inRow || isOne), [&](int64_t first, auto elements) {
    constexpr int n = decltype(elements)::kCount;
    const Index i = static_cast<Index>(first);
    const T* from = a + (i / inner / size * inner + i % inner);
    float x[n];
    if (isOne) {
#pragma unroll
      for (int j = 0; j < n; j++) x[j] = toFloat(*from);
    } else {
      loadAligned(from, x);
    }
#pragma unroll
    for (int j = 0; j < n; j++) x[j] *= scale;
    storeAligned(out + first, x);
  });
}

// silu(gate)·up
struct Swiglu {
  __device__ float operator()(float gate, float up) const { return pointwise::Silu{}(gate)*up; }
};

// dgate = g·up·σ·(1 + gate·(1 − σ)),  dup = g·gate·σ
template <class T>
__global__ void __launch_bounds__(kElementThreads)
    swigluGradientKernel(const T* gate, const T* up, const T* g, T* dGate, T* dUp, int64_t count) {
  forElements<kGroup<T>>(count, areAligned(gate, up, g, dGate, dUp), [&](int64_t i, auto elements) {
    constexpr int n = decltype(elements)::kCount;
    float gates[n], ups[n], gradients[n];
    loadAligned(gate + i, gates);
    loadAligned(up + i, ups);
    loadAligned(g + i, gradients);
#pragma unroll
    for (int j = 0; j < n; j++) {
      const float x = gates[j];
      gates[j] = pointwise::SiluGradient{}(x, gradients[j] * ups[j]);
      ups[j] = gradients[j] * pointwise::Silu{}(x);
    }
    storeAligned(dGate + i, gates);
    storeAligned(dUp + i, ups);
  });
}

}  // namespace stepsize::cuda
