// Log-softmax, cross-entropy and their gradients. A warp or a block takes a row (row_group.cuh). The sum of
// exponentials uses the running maximum (Milakov, Gimelshein, arXiv:1805.02867), so it needs one pass over the row.
//
// In float32, log-softmax moves 8 bytes per element and its gradient 12. The loss moves 4 bytes per logit, or 8 with
// smoothing, which reads the row twice. The gradient of the loss recomputes the probabilities and moves 8. In bfloat16
// they move half of that.
//
// Rows of any length move 16 bytes at a time (headOf in row_group.cuh), and the loops over logits two times 16, of
// which both loads are under way together. Instructions per bfloat16 logit on sm_90: 7 for the loss and 7.5 for its
// gradient, 11 if smoothing meets class weights. One of them is the exponential, of which a scheduler issues one in 8
// cycles. All of this is less than the 14 instructions that 2 bytes of memory traffic hide.
//
// Exponentials are those of approximations.h: e^(x − largest) has a relative error of up to 2^-22 + |x −
// largest|·2^-22.8, which is below 2^-21 of the largest term of a sum and of the largest probability.
#pragma once

#include "../pointwise.h"
#include "report_fault.cuh"
#include "row_group.cuh"

namespace stepsize::cuda {

// The maximum of a row and Σ exp(value − maximum). As in cpu/kernels/loss.h they are two numbers, because the rounding
// error of largest + log Σ grows with the values.
struct SoftmaxRow {
  float largest, sum;
};

// The softmax statistics of a row, for every thread. The sum is NaN if the row contains a NaN or +∞, or only −∞.
template <class Group, class T>
__device__ __forceinline__ SoftmaxRow softmaxOfRow(const T* row, int columns, int head) {
  float largest = -INFINITY, sum = 0;
  Group::template forColumns<2 * kGroup<T>>(columns, head, [&](int j, auto elements) {
    constexpr int n = decltype(elements)::kCount;
    float x[n];
    loadAligned(row + j, x);
    const float before = largest;
#pragma unroll
    for (int e = 0; e < n; e++) largest = fmaxf(largest, x[e]);
    // As long as there are only −∞, the sum stays 0.
    const float shift = largest == -INFINITY ? 0.0f : largest;
    // ∞ − ∞ is NaN, and a NaN that fmaxf ignored comes out of the exponential.
    float own = 0;
#pragma unroll
    for (int e = 0; e < n; e++) own += exponential(x[e] - shift);
    sum = fmaf(sum, exponential(before - shift), own);
  });
  const float all = Group::max(largest);
  return {all, Group::sum(sum * exponential(largest - all))};
}

// out = x − largest − log Σ exp(x − largest), per row.
template <class Group, class T>
__global__ void __launch_bounds__(kRowThreads) logSoftmaxKernel(const T* x, T* out, int64_t rows, int columns) {
  Group::forRows(rows, [&](int64_t row) {
    const T* from = x + row * columns;
    T* to = out + row * columns;
    const int head = headOf(columns, from, to);
    const SoftmaxRow softmax = softmaxOfRow<Group>(from, columns, head);
    const float logSum = logf(softmax.sum);
    Group::template forColumns<kGroup<T>>(columns, head, [&](int j, auto elements) {
      constexpr int n = decltype(elements)::kCount;
      float values[n];
      loadAligned(from + j, values);
#pragma unroll
      for (int e = 0; e < n; e++) values[e] = (values[e] - softmax.largest) - logSum;
      storeAligned(to + j, values);
    });
  });
}

// dx = g − softmax(x)·Σg, per row.
template <class Group, class T>
__global__ void __launch_bounds__(kRowThreads)
    logSoftmaxGradientKernel(const T* output, const T* g, T* dx, int64_t rows, int columns) {
  Group::forRows(rows, [&](int64_t row) {
    const int64_t at = row * columns;
    const int head = headOf(columns, g + at, output + at, dx + at);
    const float sum = sumOfRow<Group>(g + at, columns, head);
    Group::template forColumns<kGroup<T>>(columns, head, [&](int j, auto elements) {
      constexpr int n = decltype(elements)::kCount;
      float gradients[n], values[n];
      loadAligned(g + at + j, gradients);
      loadAligned(output + at + j, values);
#pragma unroll
      for (int e = 0; e < n; e++) gradients[e] = fmaf(-exponential(values[e]), sum, gradients[e]);
      storeAligned(dx + at + j, gradients);
    });
  });
}

// The arguments that cross-entropy and its gradient share; cpu/kernels/loss.h defines v, w and s.
struct CrossEntropyRows {
  const int32_t* labels;
  const float *classWeights, *itemWeights;  // null: all 1
  int ignored, classes;
  float smoothing;

  // v of a row; 0 for rows that do not count.
  __device__ float itemWeight(int64_t row, int label) const {
    if (label == ignored) return 0.0f;
    return itemWeights == nullptr ? 1.0f : itemWeights[row];
  }
  __device__ bool hasClass(int label) const { return label >= 0 && label < classes; }
  // w of a label, which must be a class.
  __device__ float classWeight(int label) const { return classWeights == nullptr ? 1.0f : classWeights[label]; }
  // Loads w of some classes.
  template <int Count>
  __device__ void classWeightsAt(int j, float (&w)[Count]) const {
    load(classWeights + j, isAligned16(classWeights + j), w);
  }
  // Σ w, for every thread; all threads of the group must call this.
  template <class Group>
  __device__ float classSum() const {
    if (classWeights == nullptr) return static_cast<float>(classes);
    return sumOfRow<Group>(classWeights, classes, headOf(classes, classWeights));
  }
};

// The loss of a row, −v·((1 − s)·w_y·log p_y + s/classes·Σ_j w_j·log p_j), and its weight v·w_y.
template <class Group, class T>
__global__ void __launch_bounds__(kRowThreads)
    crossEntropyKernel(const T* logits, CrossEntropyRows rows, float* losses, float* weights, float* maxima,
                       float* inverseSums, int64_t count, FaultReport faults) {
  const int columns = rows.classes;
  const float classSum = rows.smoothing > 0 ? rows.classSum<Group>() : 0.0f;
  Group::forRows(count, [&](int64_t row) {
    const int label = rows.labels[row];
    const float item = rows.itemWeight(row, label);
    SoftmaxRow softmax{0, 0};
    float loss = 0, weight = 0;
    if (item != 0) {
      const T* from = logits + row * columns;
      const int head = headOf(columns, from);
      softmax = softmaxOfRow<Group>(from, columns, head);
      const float logSum = logf(softmax.sum);
      float ofAll = 0;
      if (rows.smoothing > 0) {
        ofAll = Group::template sumOver<kGroup<T>>(columns, head, [&](int j, auto elements) {
          constexpr int n = decltype(elements)::kCount;
          float x[n], w[n];
          loadAligned(from + j, x);
#pragma unroll
          for (int e = 0; e < n; e++) w[e] = 1;
          if (rows.classWeights != nullptr) rows.classWeightsAt(j, w);
#pragma unroll
          for (int e = 0; e < n; e++) x[e] = w[e] * (x[e] - softmax.largest);
          return sumOf(x);
        });
        ofAll = (ofAll - logSum * classSum) / static_cast<float>(columns);
      }
      float ofLabel = 0;
      weight = 1;
      if (rows.hasClass(label)) {
        weight = rows.classWeight(label);
        ofLabel = weight * ((toFloat(from[label]) - softmax.largest) - logSum);
      }
      loss = -item * ((1.0f - rows.smoothing) * ofLabel + rows.smoothing * ofAll);
      weight *= item;
    }
    if (Group::thread() != 0) return;
    if (item != 0 && !rows.hasClass(label)) report(faults, FaultKind::label, label, row, columns - 1);
    losses[row] = loss;
    weights[row] = weight;
    maxima[row] = softmax.largest;
    inverseSums[row] = item != 0 ? 1.0f / softmax.sum : 0.0f;
  });
}

// The sums of the losses and weights of the rows, and their quotient. One block adds them, in one order.
__global__ void __launch_bounds__(kRowThreads)
    addLossesKernel(const float* losses, const float* weights, int64_t count, float* sum, float* weight, float* mean) {
  float lossSum = 0, weightSum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kRowThreads) {
    lossSum += losses[i];
    weightSum += weights[i];
  }
  lossSum = blockSum<kRowThreads>(lossSum);
  weightSum = blockSum<kRowThreads>(weightSum);
  if (threadIdx.x != 0) return;
  sum[0] = lossSum;
  weight[0] = weightSum;
  mean[0] = lossSum / weightSum;
}

// The gradient of the losses of the rows: one number per row, the gradient of the sum, or the gradient of the mean.
struct LossGradient {
  const float *g, *weight;
  bool perRow, ofMean;

  __device__ float at(int64_t row) const {
    if (perRow) return g[row];
    return ofMean ? pointwise::shareOf(g[0], weight[0]) : g[0];
  }
};

// dlogits_j = v·g·(p_j·((1 − s)·w_y + s/classes·Σw) − (1 − s)·w_y·[j = y] − s/classes·w_j), and 0 in rows that do not
// count.
template <class Group, class T>
__global__ void __launch_bounds__(kRowThreads, 5)
    crossEntropyGradientKernel(const T* logits, CrossEntropyRows rows, const float* maxima, const float* inverseSums,
                               LossGradient gradient, T* out, int64_t count, FaultReport faults) {
  const int columns = rows.classes;
  const float ofClass = rows.smoothing / static_cast<float>(columns);
  const bool weighsClasses = ofClass > 0 && rows.classWeights != nullptr;
  const float ofAll = weighsClasses ? ofClass * rows.classSum<Group>() : 0.0f;
  Group::forRows(count, [&](int64_t row) {
    const int label = rows.labels[row];
    const float item = rows.itemWeight(row, label);
    T* to = out + row * columns;
    const T* from = logits + row * columns;
    const int head = headOf(columns, from, to);
    // Rows that do not count are written as 0 without a product, so that a gradient that is not finite cannot make them
    // NaN.
    if (item == 0) {
      Group::template forColumns<kGroup<T>>(columns, head, [&](int j, auto elements) {
        const float zeros[decltype(elements)::kCount] = {};
        storeAligned(to + j, zeros);
      });
      return;
    }
    if (!rows.hasClass(label) && Group::thread() == 0) report(faults, FaultKind::label, label, row, columns - 1);
    const float scale = gradient.at(row) * item, largest = maxima[row];
    const float ofLabel = (1.0f - rows.smoothing) * (rows.hasClass(label) ? rows.classWeight(label) : 1.0f);
    // Without class weights this is (1 − s) + s.
    const float share = (rows.classWeights == nullptr ? 1.0f : ofLabel + ofAll) * inverseSums[row];
    const auto derivative = [&](float x, float target) {
      return fmaf(exponential(x - largest), share, -target) * scale;
    };
    if (weighsClasses)
      Group::template forColumns<kGroup<T>>(columns, head, [&](int j, auto elements) {
        constexpr int n = decltype(elements)::kCount;
        float x[n], w[n];
        loadAligned(from + j, x);
        rows.classWeightsAt(j, w);
#pragma unroll
        for (int e = 0; e < n; e++) x[e] = derivative(x[e], ofClass * w[e]);
        storeAligned(to + j, x);
      });
    else
      Group::template forColumns<2 * kGroup<T>>(columns, head, [&](int j, auto elements) {
        constexpr int n = decltype(elements)::kCount;
        float x[n];
        loadAligned(from + j, x);
#pragma unroll
        for (int e = 0; e < n; e++) x[e] = derivative(x[e], ofClass);
        storeAligned(to + j, x);
      });
    // The label's derivative is written last, so that the loops need not look for it.
    Group::synchronize();
    if (rows.hasClass(label) && Group::thread() == 0) {
      const float w = weighsClasses ? rows.classWeight(label) : 1.0f;
      to[label] = castElement<T>(derivative(toFloat(from[label]), ofLabel + ofClass * w));
    }
  });
}

}  // namespace stepsize::cuda
