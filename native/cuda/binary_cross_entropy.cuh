// Binary cross-entropy of logits, element by element, and its gradient; pointwise.h has the formulas. Losses,
// targets and weights are float32.
//
// The loss moves 12 bytes per element and the gradient 16; weights add 4. With bfloat16 logits the loss moves 2 bytes
// less and the gradient 4 less.
#pragma once

#include "../pointwise.h"
#include "grid_loops.cuh"

namespace stepsize::cuda {

// The optional weights; null if all are 1. The weights of the positive class repeat.
struct BinaryWeights {
  const float *positives, *elements;
  int64_t period;  // length of `positives`; 1 if there are none

  // Whether the groups of all weights are aligned.
  template <int Group>
  __device__ bool areAligned() const {
    return isAligned16(elements) && (positives == nullptr || (isAligned16(positives) && period % Group == 0));
  }
  // Loads the weights of the elements from i on, for i % period = at.
  template <int Count>
  __device__ void load(int64_t i, int64_t at, float (&ofPositives)[Count], float (&ofElements)[Count]) const {
#pragma unroll
    for (int e = 0; e < Count; e++) ofPositives[e] = ofElements[e] = 1;
    if (positives != nullptr) loadAligned(positives + at, ofPositives);
    if (elements != nullptr) loadAligned(elements + i, ofElements);
  }
};

// losses[i] = weight · loss(x[i], targets[i]).
template <class T>
__global__ void __launch_bounds__(kElementThreads)
    binaryCrossEntropyKernel(const T* x, const float* targets, BinaryWeights weights, float* losses, int64_t count) {
  constexpr int group = kGroup<T>;
  const bool aligned = areAligned(x, targets, losses) && weights.areAligned<group>();
  forElements<group>(count, weights.period, aligned, [&](int64_t i, int64_t at, auto elements) {
    constexpr int n = decltype(elements)::kCount;
    float logits[n], y[n], positives[n], factors[n];
    loadAligned(x + i, logits);
    loadAligned(targets + i, y);
    weights.load(i, at, positives, factors);
#pragma unroll
    for (int e = 0; e < n; e++) logits[e] = factors[e] * pointwise::BinaryCrossEntropy{}(logits[e], y[e], positives[e]);
    storeAligned(losses + i, logits);
  });
}

// dx[i] = g[i] · weight · loss'(x[i], targets[i]).
template <class T>
__global__ void __launch_bounds__(kElementThreads)
    binaryCrossEntropyGradientKernel(const T* x, const float* targets, BinaryWeights weights, const float* g, T* dx,
                                     int64_t count) {
  constexpr int group = kGroup<T>;
  const bool aligned = areAligned(x, targets, g, dx) && weights.areAligned<group>();
  forElements<group>(count, weights.period, aligned, [&](int64_t i, int64_t at, auto elements) {
    constexpr int n = decltype(elements)::kCount;
    float logits[n], y[n], gradients[n], positives[n], factors[n];
    loadAligned(x + i, logits);
    loadAligned(targets + i, y);
    loadAligned(g + i, gradients);
    weights.load(i, at, positives, factors);
#pragma unroll
    for (int e = 0; e < n; e++)
      logits[e] = gradients[e] * factors[e] * pointwise::BinaryCrossEntropyGradient{}(logits[e], y[e], positives[e]);
    storeAligned(dx + i, logits);
  });
}

}  // namespace stepsize::cuda
