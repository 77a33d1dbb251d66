// Log-softmax, cross-entropy with label smoothing, and the count of right answers. Rows are independent; sums over
// rows are made in order.
#pragma once

#include <math.h>

#include "../../fault_texts.h"
#include "../../operations_attributes.h"
#include "exponential.h"
#include "reduce.h"

namespace stepsize::STEPSIZE_ISA {

// max + log Σ exp(row − max)
STEPSIZE_INLINE float logSumOf(const Invocation& call, const float* row, int64_t columns) {
  const float largest = largestValue(row, columns, row[0]);
  const Vec shift = broadcast(largest);
  float* exponentials = call.scratch();
  float sum = 0;
  for (int64_t first = 0; first < columns; first += kScratchFloats) {
    const int64_t count = least(kScratchFloats, columns - first);
    mapVectors(row + first, exponentials, count, [=](Vec x) { return exponential(x - shift); });
    sum += sumFloats(exponentials, count);
  }
  return largest + logf(sum);
}

template <class F>
STEPSIZE_INLINE void forRowsOf(const Invocation& call, const TensorView& x, const F& f) {
  const int64_t columns = x.shape[x.shape.rank - 1];
  if (columns == 0) return;
  parallelChunks(call, x.elements() / columns, most(1, kChunk / columns), [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) f(i, columns);
  });
}

inline void logSoftmax(const Invocation& call) {
  const float* x = call.input(0).floats();
  float* out = call.output(0).floats();
  forRowsOf(call, call.input(0), [&](int64_t i, int64_t n) {
    const float logSum = logSumOf(call, x + i * n, n);
    for (int64_t j = i * n; j < (i + 1) * n; j++) out[j] = x[j] - logSum;
  });
}

// dx = g − softmax(x)·Σg
inline void logSoftmaxGradient(const Invocation& call) {
  const float* output = call.input(0).floats();
  const float* g = call.input(1).floats();
  float* dx = call.output(0).floats();
  forRowsOf(call, call.input(0), [&](int64_t i, int64_t n) {
    const float sum = sumFloats(g + i * n, n);
    mapVectors(output + i * n, dx + i * n, n, [](Vec x) { return exponential(x); });
    for (int64_t j = i * n; j < (i + 1) * n; j++) dx[j] = g[j] - dx[j] * sum;
  });
}

STEPSIZE_INLINE bool checkLabel(const Invocation& call, int64_t row, int64_t label, int64_t classes) {
  if (label >= 0 && label < classes) return true;
  call.fail(fault::kLabel, label, row, classes - 1);
  return false;
}

// Mean over rows of −Σ_j t_j·log p_j, with t = (1 − s)·onehot + s/classes and log p = logit − logSum. Only the logSums
// are kept for the gradient: probabilities would take as much memory as the logits.
inline void crossEntropy(const Invocation& call) {
  const TensorView& logits = call.input(0);
  const int32_t* labels = call.input(1).as<int32_t>();
  const int64_t rows = logits.shape[0];
  const float smoothing = call.number(attribute::smoothing);
  float* logSums = call.output(1).floats();
  float* losses = static_cast<float*>(call.workspace(rows * 4));
  forRowsOf(call, logits, [&](int64_t i, int64_t classes) {
    const float* row = logits.floats() + i * classes;
    const float logSum = logSumOf(call, row, classes);
    logSums[i] = logSum;
    const bool valid = checkLabel(call, i, labels[i], classes);
    const float ofLabel = valid ? row[labels[i]] - logSum : 0;
    const float ofAll = smoothing > 0 ? sumFloats(row, classes) / static_cast<float>(classes) - logSum : 0;
    losses[i] = -((1 - smoothing) * ofLabel + smoothing * ofAll);
  });
  call.output(0).floats()[0] = sumFloats(losses, rows) / static_cast<float>(rows);
}

// dlogits = (p − t)·g/rows
inline void crossEntropyGradient(const Invocation& call) {
  const TensorView& logits = call.input(0);
  const int32_t* labels = call.input(1).as<int32_t>();
  const float* logSums = call.input(2).floats();
  const float smoothing = call.number(attribute::smoothing);
  const float scale = call.input(3).floats()[0] / static_cast<float>(logits.shape[0]);
  float* out = call.output(0).floats();
  forRowsOf(call, logits, [&](int64_t i, int64_t classes) {
    const Vec ofAll = broadcast(smoothing / static_cast<float>(classes)), factor = broadcast(scale);
    const Vec logSum = broadcast(logSums[i]);
    mapVectors(logits.floats() + i * classes, out + i * classes, classes,
               [=](Vec x) { return (exponential(x - logSum) - ofAll) * factor; });
    if (checkLabel(call, i, labels[i], classes)) out[i * classes + labels[i]] -= (1 - smoothing) * scale;
  });
}

inline void correctCount(const Invocation& call) {
  const TensorView& logits = call.input(0);
  const int32_t* labels = call.input(1).as<int32_t>();
  int64_t correct = 0;
  const int64_t classes = logits.shape[1];
  for (int64_t i = 0; i < logits.shape[0]; i++)
    correct += largestOf(logits.floats() + i * classes, classes) == labels[i];
  call.output(0).floats()[0] = static_cast<float>(correct);
}

}  // namespace stepsize::STEPSIZE_ISA
