// Log-softmax, cross-entropy, binary cross-entropy, and the number of correct predictions. Sums over rows are added in
// a fixed order.
#pragma once

#include <math.h>

#include "../../fault_texts.h"
#include "../../operations_attributes.h"
#include "../../pointwise.h"
#include "exponential.h"
#include "reduce.h"

namespace stepsize::STEPSIZE_ISA {

// The largest value of a row, and Σ exp(value − largest). They are kept as two numbers: one number, largest + log Σ,
// has a rounding error that grows with the values, and the probabilities would be wrong by as much.
struct SoftmaxRow {
  float largest, sum;
};

STEPSIZE_INLINE SoftmaxRow softmaxOf(const Invocation& call, const float* row, int64_t columns) {
  const float largest = largestValue(row, columns, row[0]);
  const Vec shift = broadcast(largest);
  float* exponentials = call.scratch();
  float sum = 0;
  for (int64_t first = 0; first < columns; first += kScratchFloats) {
    const int64_t count = least(kScratchFloats, columns - first);
    mapVectors(row + first, exponentials, count, [=](Vec x) { return exponential(x - shift); });
    sum += sumFloats(exponentials, count);
  }
  return {largest, sum};
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
    const SoftmaxRow row = softmaxOf(call, x + i * n, n);
    const float logSum = logf(row.sum);
    for (int64_t j = i * n; j < (i + 1) * n; j++) out[j] = (x[j] - row.largest) - logSum;
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

// The arguments that cross-entropy and its gradient share. w is the weight of each class and v the weight of each row,
// both 1 if no weights are given. s is the smoothing. A row counts if its label is not ignored and its v is not 0.
struct CrossEntropyRows {
  const Invocation& call;
  const int32_t* labels;
  int64_t classes, ignored;
  float smoothing;
  const float *classWeights, *itemWeights;
  float classSum;  // Σ w

  explicit CrossEntropyRows(const Invocation& of)
      : call(of),
        labels(of.input(1).as<int32_t>()),
        classes(of.input(0).shape[1]),
        ignored(of.integer(attribute::crossEntropy::ignoreIndex)),
        smoothing(of.number(attribute::crossEntropy::smoothing)),
        classWeights(of.integer(attribute::crossEntropy::classWeights) != 0 ? of.input(2).floats() : nullptr),
        itemWeights(of.integer(attribute::crossEntropy::itemWeights) != 0 ? of.input(classWeights ? 3 : 2).floats()
                                                                          : nullptr),
        classSum(classWeights ? sumFloats(classWeights, classes) : static_cast<float>(classes)) {}

  // v of a row; 0 if its label is ignored.
  float itemWeight(int64_t row) const {
    if (labels[row] == ignored) return 0;
    return itemWeights ? itemWeights[row] : 1;
  }
  // Whether the label of a row is a class; reports a fault if not.
  bool hasClass(int64_t row) const {
    if (labels[row] >= 0 && labels[row] < classes) return true;
    call.fail(fault::kLabel, labels[row], row, classes - 1);
    return false;
  }
  // w of the label of a row, which must be a class.
  float classWeight(int64_t row) const { return classWeights ? classWeights[labels[row]] : 1; }

  // Σ_j w_j·(x_j − largest)
  float weightedSum(const float* row, float largest) const {
    const Vec shift = broadcast(largest);
    float* terms = call.scratch();
    float sum = 0;
    for (int64_t first = 0; first < classes; first += kScratchFloats) {
      const int64_t count = least(kScratchFloats, classes - first);
      mapVectors(row + first, terms, count, [=](Vec x) { return x - shift; });
      if (classWeights)
        for (int64_t j = 0; j < count; j++) terms[j] *= classWeights[first + j];
      sum += sumFloats(terms, count);
    }
    return sum;
  }
};

// The loss of a row is −v·((1 − s)·w_y·log p_y + s/classes·Σ_j w_j·log p_j), and its weight is v·w_y. The outputs are
// the losses of the rows, their sum, the sum of the weights, and the quotient of the two. For the gradient there are
// also each row's maximum and the inverse of its sum of exponentials; storing the probabilities would take as much
// memory as the logits.
inline void crossEntropy(const Invocation& call) {
  const TensorView& logits = call.input(0);
  const CrossEntropyRows rows(call);
  const int64_t count = logits.shape[0];
  const float smoothing = rows.smoothing;
  float* losses = call.output(0).floats();
  float* maxima = call.output(4).floats();
  float* inverseSums = call.output(5).floats();
  float* weights = static_cast<float*>(call.workspace(count * 4));
  forRowsOf(call, logits, [&](int64_t i, int64_t classes) {
    const float item = rows.itemWeight(i);
    losses[i] = weights[i] = maxima[i] = inverseSums[i] = 0;
    if (item == 0) return;
    const float* row = logits.floats() + i * classes;
    const SoftmaxRow softmax = softmaxOf(call, row, classes);
    const float logSum = logf(softmax.sum);
    maxima[i] = softmax.largest;
    inverseSums[i] = 1 / softmax.sum;
    float ofLabel = 0, weight = 1, ofAll = 0;
    if (rows.hasClass(i)) {
      weight = rows.classWeight(i);
      ofLabel = weight * ((row[rows.labels[i]] - softmax.largest) - logSum);
    }
    if (smoothing > 0)
      ofAll = (rows.weightedSum(row, softmax.largest) - logSum * rows.classSum) / static_cast<float>(classes);
    losses[i] = -item * ((1 - smoothing) * ofLabel + smoothing * ofAll);
    weights[i] = item * weight;
  });
  const float sum = sumFloats(losses, count), weight = sumFloats(weights, count);
  call.output(1).floats()[0] = sum;
  call.output(2).floats()[0] = weight;
  call.output(3).floats()[0] = sum / weight;
}

// dlogits_j = v·g·(p_j·((1 − s)·w_y + s/classes·Σw) − (1 − s)·w_y·[j = y] − s/classes·w_j), and 0 in rows that do not
// count. g is the gradient of the row's loss: one number per row, the gradient of the sum, or the gradient of the mean
// divided by the total weight.
inline void crossEntropyGradient(const Invocation& call) {
  const TensorView& logits = call.input(0);
  const CrossEntropyRows rows(call);
  const TensorView *statistics = &call.input(call.inputs - 4), &gradient = call.input(call.inputs - 1);
  const float* maxima = statistics[1].floats();
  const float* inverseSums = statistics[2].floats();
  const float* g = gradient.floats();
  const bool perRow = gradient.shape.rank == 1;
  const float all = call.integer(attribute::crossEntropyGradient::mean) != 0
                        ? pointwise::shareOf(g[0], statistics[0].floats()[0])
                        : g[0];
  float* out = call.output(0).floats();
  forRowsOf(call, logits, [&](int64_t i, int64_t classes) {
    float* to = out + i * classes;
    const float item = rows.itemWeight(i);
    if (item == 0) return zeroFloats(to, classes);
    const bool hasClass = rows.hasClass(i);
    const float scale = (perRow ? g[i] : all) * item, ofClass = rows.smoothing / static_cast<float>(classes);
    const float ofLabel = (1 - rows.smoothing) * (hasClass ? rows.classWeight(i) : 1);
    // Without class weights this is (1 − s) + s.
    const float together = rows.classWeights ? ofLabel + ofClass * rows.classSum : 1;
    const Vec largest = broadcast(maxima[i]), share = broadcast(inverseSums[i] * together);
    const Vec even = broadcast(rows.classWeights ? 0 : ofClass), factor = broadcast(scale);
    mapVectors(logits.floats() + i * classes, to, classes,
               [=](Vec x) { return (exponential(x - largest) * share - even) * factor; });
    if (rows.classWeights && ofClass > 0)
      for (int64_t j = 0; j < classes; j++) to[j] -= ofClass * rows.classWeights[j] * scale;
    if (hasClass) to[rows.labels[i]] -= ofLabel * scale;
  });
}

// Calls f(i, weight of the positive class, weight of the element) for every element.
template <class F>
STEPSIZE_INLINE void forBinaryLosses(const Invocation& call, const F& f) {
  const bool weighsPositives = call.integer(attribute::binaryCrossEntropy::positiveWeights) != 0;
  const TensorView& positive = call.input(2);
  const int64_t period = weighsPositives ? positive.elements() : 1;
  const float* weights = call.integer(attribute::binaryCrossEntropy::weights) != 0
                             ? call.input(weighsPositives ? 3 : 2).floats()
                             : nullptr;
  parallelChunks(call, call.input(0).elements(), kChunk, [&](int64_t from, int64_t to) {
    int64_t at = from % period;
    for (int64_t i = from; i < to; i++) {
      f(i, weighsPositives ? positive.floats()[at] : 1, weights ? weights[i] : 1);
      at = at + 1 == period ? 0 : at + 1;
    }
  });
}

inline void binaryCrossEntropy(const Invocation& call) {
  const float *x = call.input(0).floats(), *y = call.input(1).floats();
  float* out = call.output(0).floats();
  forBinaryLosses(call, [=](int64_t i, float positive, float weight) {
    out[i] = weight * pointwise::BinaryCrossEntropy{}(x[i], y[i], positive);
  });
}

inline void binaryCrossEntropyGradient(const Invocation& call) {
  const float *x = call.input(0).floats(), *y = call.input(1).floats(), *g = call.input(call.inputs - 1).floats();
  float* out = call.output(0).floats();
  forBinaryLosses(call, [=](int64_t i, float positive, float weight) {
    out[i] = g[i] * weight * pointwise::BinaryCrossEntropyGradient{}(x[i], y[i], positive);
  });
}

inline void correctCount(const Invocation& call) {
  const TensorView& logits = call.input(0);
  const int32_t* labels = call.input(1).as<int32_t>();
  const int64_t classes = logits.shape[1], ignored = call.integer(attribute::correctCount::ignoreIndex);
  int64_t correct = 0;
  for (int64_t i = 0; i < logits.shape[0]; i++)
    correct += labels[i] != ignored && largestOf(logits.floats() + i * classes, classes) == labels[i];
  call.output(0).floats()[0] = static_cast<float>(correct);
}

}  // namespace stepsize::STEPSIZE_ISA
