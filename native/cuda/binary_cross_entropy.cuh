// Binary cross-entropy of logits, element by element: a loss moves 12 bytes, its gradient 16; with weights 4 more, of
// bfloat16 logits 2 and 4 less. Losses, targets and weights are float32.
#pragma once

#include "../pointwise.h"
#include "fours.cuh"

namespace stepsize::cuda {

// Null: all 1. The weights of the positive class repeat.
struct BinaryWeights {
  const float *positives, *elements;
  int64_t period;  // of the positives; 4 without them
};

// The weights of a group of four: of the positive class, and of the elements.
struct FourBinaryWeights {
  float positives[4] = {1, 1, 1, 1}, elements[4] = {1, 1, 1, 1};

  __device__ FourBinaryWeights(const BinaryWeights& weights, const Repeated<float>& repeated, bool aligned, int64_t i,
                               int count, int64_t at) {
    if (weights.positives != nullptr) repeated.load(at, positives);
    if (weights.elements != nullptr) loadGroup(weights.elements + i, aligned, count, elements);
  }
};

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
