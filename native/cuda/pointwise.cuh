// Operations on elements: each thread takes four neighbours at a time, moved as 16 bytes. Memory-bound: a map moves 8
// bytes per element, a pair 12 (8 where the second operand repeats and stays in cache).
#pragma once

#include "../pointwise.h"
#include "vector_access.cuh"

namespace stepsize::cuda {

constexpr int kPointwiseThreads = 256;

// Calls f(first, count) for this thread's groups of up to four elements.
template <class F>
__device__ __forceinline__ void forFours(int64_t count, const F& f) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kPointwiseThreads * 4;
  for (int64_t i = (static_cast<int64_t>(blockIdx.x) * kPointwiseThreads + threadIdx.x) * 4; i < count; i += step)
    f(i, static_cast<int>(min(int64_t{4}, count - i)));
}

// out[i] = f(a[i])
template <class F>
__global__ void __launch_bounds__(kPointwiseThreads) mapKernel(const float* a, float* out, int64_t count, F f) {
  const bool aligned = isAligned16(a) && isAligned16(out);
  forFours(count, [&](int64_t i, int elements) {
    if (elements < 4) {
      for (int j = 0; j < elements; j++) out[i + j] = f(a[i + j]);
      return;
    }
    float x[4];
    load(a + i, aligned, x);
#pragma unroll
    for (int j = 0; j < 4; j++) x[j] = f(x[j]);
    store(out + i, aligned, x);
  });
}

// out[i] = f(a[i], b[i % period])
template <class F>
__global__ void __launch_bounds__(kPointwiseThreads)
    zipKernel(const float* a, const float* b, float* out, int64_t count, int64_t period, F f) {
  const bool aligned = isAligned16(a) && isAligned16(out);
  const bool alignedB = isAligned16(b) && period % 4 == 0;
  forFours(count, [&](int64_t i, int elements) {
    int64_t at = i % period;
    if (elements < 4) {
      for (int j = 0; j < elements; j++, at = at + 1 == period ? 0 : at + 1) out[i + j] = f(a[i + j], b[at]);
      return;
    }
    float x[4], y[4];
    load(a + i, aligned, x);
    if (alignedB) {
      load(b + at, true, y);
    } else {
#pragma unroll
      for (int j = 0; j < 4; j++, at = at + 1 == period ? 0 : at + 1) y[j] = b[at];
    }
#pragma unroll
    for (int j = 0; j < 4; j++) x[j] = f(x[j], y[j]);
    store(out + i, aligned, x);
  });
}

// a [outer, inner] repeated `size` times along a new axis between them, and scaled.
__global__ void __launch_bounds__(kPointwiseThreads)
    expandKernel(const float* a, float* out, int64_t count, int64_t size, int64_t inner, float scale) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kPointwiseThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kPointwiseThreads + threadIdx.x; i < count; i += step)
    out[i] = a[i / inner / size * inner + i % inner] * scale;
}

__device__ __forceinline__ float logistic(float x) { return 1.0f / (1.0f + expf(-x)); }

struct Swiglu {
  __device__ float operator()(float gate, float up) const { return gate * logistic(gate) * up; }
};

// dgate = g·up·σ·(1 + gate·(1 − σ)),  dup = g·gate·σ
__global__ void __launch_bounds__(kPointwiseThreads)
    swigluGradientKernel(const float* gate, const float* up, const float* g, float* dGate, float* dUp, int64_t count) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kPointwiseThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kPointwiseThreads + threadIdx.x; i < count; i += step) {
    const float sigma = logistic(gate[i]);
    dGate[i] = g[i] * up[i] * (sigma * (1.0f + gate[i] * (1.0f - sigma)));
    dUp[i] = g[i] * (gate[i] * sigma);
  }
}

}  // namespace stepsize::cuda
