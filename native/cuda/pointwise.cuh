// Elementwise operations; T is the storage type. A thread takes four elements at a time. They are memory-bound. In
// float32, a map moves 8 bytes per element; a zip 12, or 8 if the second operand repeats and stays in the cache; an
// expansion 4; the gradient of SwiGLU 20. In bfloat16 they move half of that.
#pragma once

#include "../pointwise.h"
#include "grid_loops.cuh"

namespace stepsize::cuda {

// out[i] = f(a[i])
template <class T, class F>
__global__ void __launch_bounds__(kFoursThreads) mapKernel(const T* a, T* out, int64_t count, F f) {
  const bool aligned = isAligned16(a) && isAligned16(out);
  forFours(count, [&](int64_t i, int elements) {
    float x[4] = {};
    loadGroup(a + i, aligned, elements, x);
#pragma unroll
    for (int j = 0; j < 4; j++) x[j] = f(x[j]);
    storeGroup(out + i, aligned, elements, x);
  });
}

// out[i] = f(a[i], b[i % period])
template <class T, class F>
__global__ void __launch_bounds__(kFoursThreads)
    zipKernel(const T* a, const T* b, T* out, int64_t count, int64_t period, F f) {
  const bool aligned = isAligned16(a) && isAligned16(out);
  const Repeated second(b, period);
  forFours(count, period, [&](int64_t i, int elements, int64_t at) {
    float x[4] = {}, y[4];
    loadGroup(a + i, aligned, elements, x);
    second.load(at, y);
#pragma unroll
    for (int j = 0; j < 4; j++) x[j] = f(x[j], y[j]);
    storeGroup(out + i, aligned, elements, x);
  });
}

// Repeats a [outer, inner] `size` times along a new axis between the two, and scales it. Index has 32 bits if these
// suffice, because 64-bit divisions take longer than the memory access.
template <class T, class Index>
__global__ void __launch_bounds__(kFoursThreads)
    expandKernel(const T* a, T* out, int64_t count, Index size, Index inner, float scale) {
  const bool aligned = isAligned16(out);
  forFours(count, [&](int64_t first, int elements) {
    float x[4] = {};
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const Index i = static_cast<Index>(first) + static_cast<Index>(j);
      if (j < elements) x[j] = toFloat(a[i / inner / size * inner + i % inner]) * scale;
    }
    storeGroup(out + first, aligned, elements, x);
  });
}

// silu(gate)·up
struct Swiglu {
  __device__ float operator()(float gate, float up) const { return pointwise::Silu{}(gate)*up; }
};

// dgate = g·up·σ·(1 + gate·(1 − σ)),  dup = g·gate·σ
template <class T>
__global__ void __launch_bounds__(kFoursThreads)
    swigluGradientKernel(const T* gate, const T* up, const T* g, T* dGate, T* dUp, int64_t count) {
  const bool aligned = isAligned16(gate) && isAligned16(up) && isAligned16(g) && isAligned16(dGate) && isAligned16(dUp);
  forFours(count, [&](int64_t i, int elements) {
    float gates[4] = {}, ups[4] = {}, gradients[4] = {};
    loadGroup(gate + i, aligned, elements, gates);
    loadGroup(up + i, aligned, elements, ups);
    loadGroup(g + i, aligned, elements, gradients);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const float x = gates[j];
      gates[j] = pointwise::SiluGradient{}(x, gradients[j] * ups[j]);
      ups[j] = gradients[j] * pointwise::Silu{}(x);
    }
    storeGroup(dGate + i, aligned, elements, gates);
    storeGroup(dUp + i, aligned, elements, ups);
  });
}

}  // namespace stepsize::cuda
