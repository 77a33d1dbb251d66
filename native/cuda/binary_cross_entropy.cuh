// Binary cross-entropy of logits, element by element, and its gradient; pointwise.h has the formulas. A thread takes
// four elements at a time. Losses, targets and weights are float32.
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
  int64_t period;  // length of `positives`; 4 if there are none
};

// The weights of a group of four elements.
struct FourBinaryWeights {
  float positives[4] = {1, 1, 1, 1}, elements[4] = {1, 1, 1, 1};

  __device__ FourBinaryWeights(const BinaryWeights& weights, const Repeated<float>& repeated, bool aligned, int64_t i,
                               int count, int64_t at) {
    if (weights.positives != nullptr) repeated.load(at, positives);
    if (weights.elements != nullptr) loadGroup(weights.elements + i, aligned, count, elements);
  }
};

// losses[i] = weight · loss(x[i], targets[i]).
template <class T>
__global__ void __launch_bounds__(kFoursThreads)
    binaryCrossEntropyKernel(const T* x, const float* targets, BinaryWeights weights, float* losses, int64_t count) {
  const bool aligned = isAligned16(x) && isAligned16(targets) && isAligned16(weights.elements) && isAligned16(losses);
  const Repeated<float> positives(weights.positives, weights.period);
  forFours(count, weights.period, [&](int64_t i, int elements, int64_t at) {
    float logits[4] = {}, y[4] = {};
    loadGroup(x + i, aligned, elements, logits);
    loadGroup(targets + i, aligned, elements, y);
    const FourBinaryWeights w(weights, positives, aligned, i, elements, at);
#pragma unroll
    for (int e = 0; e < 4; e++)
      logits[e] = w.elements[e] * pointwise::BinaryCrossEntropy{}(logits[e], y[e], w.positives[e]);
    storeGroup(losses + i, aligned, elements, logits);
  });
}

// dx[i] = g[i] · weight · loss'(x[i], targets[i]).
template <class T>
__global__ void __launch_bounds__(kFoursThreads)
    binaryCrossEntropyGradientKernel(const T* x, const float* targets, BinaryWeights weights, const float* g, T* dx,
                                     int64_t count) {
  const bool aligned =
      isAligned16(x) && isAligned16(targets) && isAligned16(weights.elements) && isAligned16(g) && isAligned16(dx);
  const Repeated<float> positives(weights.positives, weights.period);
  forFours(count, weights.period, [&](int64_t i, int elements, int64_t at) {
    float logits[4] = {}, y[4] = {}, gradients[4] = {};
    loadGroup(x + i, aligned, elements, logits);
    loadGroup(targets + i, aligned, elements, y);
    loadGroup(g + i, aligned, elements, gradients);
    const FourBinaryWeights w(weights, positives, aligned, i, elements, at);
#pragma unroll
    for (int e = 0; e < 4; e++)
      logits[e] =
          gradients[e] * w.elements[e] * pointwise::BinaryCrossEntropyGradient{}(logits[e], y[e], w.positives[e]);
    storeGroup(dx + i, aligned, elements, logits);
  });
}

}  // namespace stepsize::cuda
