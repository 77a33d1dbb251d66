// Log-softmax and cross-entropy, a warp or a block per row (row_group.cuh). The sum of exponentials comes with the
// running maximum (Milakov, Gimelshein, arXiv:1805.02867), so that a row is read once for it: the loss moves 4 bytes
// per logit, its gradient, which makes the probabilities anew, 8; of bfloat16 half of that.
#pragma once

#include "../element_types.h"
#include "report_fault.cuh"
#include "row_group.cuh"

namespace stepsize::cuda {

// max + log Σ exp(row − max), for every thread. NaN for a row with a NaN or an ∞ in it, or of nothing but −∞.
template <class Group, class T>
__device__ __forceinline__ float logSumOfRow(const T* row, int columns) {
  float largest = -INFINITY, sum = 0;
  Group::forColumns(columns, [&](int j) {
    const float x = toFloat(row[j]);
    if (x > largest) {
      // x − x is 0, or NaN where x is ∞.
      sum = sum * expf(largest - x) + 1.0f + (x - x);
      largest = x;
    } else if (x != -INFINITY) {
      sum += expf(x - largest);
    }
  });
  const float all = Group::max(largest);
  return all + logf(Group::sum(sum * expf(largest - all)));
}

template <class Group, class T>
__global__ void __launch_bounds__(kRowThreads) logSoftmaxKernel(const T* x, T* out, int64_t rows, int columns) {
  Group::forRows(rows, [&](int64_t row) {
    const T* from = x + row * columns;
    const float logSum = logSumOfRow<Group>(from, columns);
    Group::forColumns(columns, [&](int j) { out[row * columns + j] = castElement<T>(toFloat(from[j]) - logSum); });
  });
}

// dx = g − softmax(x)·Σg
template <class Group, class T>
__global__ void __launch_bounds__(kRowThreads)
    logSoftmaxGradientKernel(const T* output, const T* g, T* dx, int64_t rows, int columns) {
  Group::forRows(rows, [&](int64_t row) {
    const int64_t at = row * columns;
    const float sum = Group::sumOver(columns, [&](int j) { return toFloat(g[at + j]); });
    Group::forColumns(
        columns, [&](int j) { dx[at + j] = castElement<T>(toFloat(g[at + j]) - expf(toFloat(output[at + j])) * sum); });
  });
}

// A row's loss is −Σ_j t_j·log p_j with t = (1 − s)·onehot + s/classes and log p = logit − logSum.
template <class Group, class T>
__global__ void __launch_bounds__(kRowThreads)
    crossEntropyKernel(const T* logits, const int32_t* labels, float* logSums, float* losses, int64_t rows, int columns,
                       float smoothing, FaultReport faults) {
  Group::forRows(rows, [&](int64_t row) {
    const T* from = logits + row * columns;
    const float logSum = logSumOfRow<Group>(from, columns);
    float ofAll = 0;
    if (smoothing > 0)
      ofAll = Group::sumOver(columns, [&](int j) { return toFloat(from[j]); }) / static_cast<float>(columns) - logSum;
    if (Group::thread() != 0) return;
    const int label = labels[row];
    const bool valid = label >= 0 && label < columns;
    if (!valid) report(faults, FaultKind::label, label, row, columns - 1);
    const float ofLabel = valid ? toFloat(from[label]) - logSum : 0.0f;
    logSums[row] = logSum;
    losses[row] = -((1.0f - smoothing) * ofLabel + smoothing * ofAll);
  });
}

// The mean of the rows' losses, by one block in one order.
__global__ void __launch_bounds__(kRowThreads) meanKernel(const float* x, int64_t count, float* out) {
  float sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kRowThreads) sum += x[i];
  sum = blockSum<kRowThreads>(sum);
  if (threadIdx.x == 0) out[0] = sum / static_cast<float>(count);
}

// dlogits = (p − t)·g/rows, with perRow = 1/rows and perClass = smoothing/classes.
template <class Group, class T>
__global__ void __launch_bounds__(kRowThreads, 4)  // aiming at more blocks, ptxas spills
    crossEntropyGradientKernel(const T* logits, const int32_t* labels, const float* logSums, const float* g, T* out,
                               int64_t rows, int columns, float smoothing, float perRow, float perClass) {
  const float scale = g[0] * perRow;
  Group::forRows(rows, [&](int64_t row) {
    const int label = labels[row];
    const float logSum = logSums[row];
    Group::forColumns(columns, [&](int j) {
      const float target = (j == label ? 1.0f - smoothing : 0.0f) + perClass;
      const float p = expf(toFloat(logits[row * columns + j]) - logSum);
      out[row * columns + j] = castElement<T>((p - target) * scale);
    });
  });
}

}  // namespace stepsize::cuda
