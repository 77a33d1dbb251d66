// Log-softmax and cross-entropy, a warp or a block per row (row_group.cuh). A row is read for its maximum, for the sum
// of exponentials and for the result: once from memory while it fits the caches, at 100,000 classes from the L2.
#pragma once

#include "report_fault.cuh"
#include "row_group.cuh"

namespace stepsize::cuda {

// max + log Σ exp(row − max), for every thread.
template <class Group>
__device__ __forceinline__ float logSumOfRow(const float* row, int columns) {
  float largest = -INFINITY;
  // A NaN must come through the maximum, or the row would look healthy.
  bool nan = false;
  Group::forColumns(columns, [&](int j) {
    largest = fmaxf(largest, row[j]);
    nan = nan || row[j] != row[j];
  });
  largest = Group::max(largest);
  float sum = 0;
  Group::forColumns(columns, [&](int j) { sum += expf(row[j] - largest); });
  return largest + logf(Group::sum(nan ? NAN : sum));
}

template <class Group>
__global__ void __launch_bounds__(kRowThreads) logSoftmaxKernel(const float* x, float* out, int64_t rows, int columns) {
  Group::forRows(rows, [&](int64_t row) {
    const float* from = x + row * columns;
    const float logSum = logSumOfRow<Group>(from, columns);
    Group::forColumns(columns, [&](int j) { out[row * columns + j] = from[j] - logSum; });
  });
}

// dx = g − softmax(x)·Σg
template <class Group>
__global__ void __launch_bounds__(kRowThreads)
    logSoftmaxGradientKernel(const float* output, const float* g, float* dx, int64_t rows, int columns) {
  Group::forRows(rows, [&](int64_t row) {
    const int64_t at = row * columns;
    const float sum = Group::sumOver(columns, [&](int j) { return g[at + j]; });
    Group::forColumns(columns, [&](int j) { dx[at + j] = g[at + j] - expf(output[at + j]) * sum; });
  });
}

// A row's loss is −Σ_j t_j·log p_j with t = (1 − s)·onehot + s/classes. Keeps log p for the gradient.
template <class Group>
__global__ void __launch_bounds__(kRowThreads)
    crossEntropyKernel(const float* logits, const int32_t* labels, float* logProbabilities, float* losses, int64_t rows,
                       int columns, float smoothing, FaultReport faults) {
  Group::forRows(rows, [&](int64_t row) {
    const float* from = logits + row * columns;
    const float logSum = logSumOfRow<Group>(from, columns);
    float sum = 0;
    Group::forColumns(columns, [&](int j) {
      const float value = from[j] - logSum;
      logProbabilities[row * columns + j] = value;
      sum += value;
    });
    const float ofAll = smoothing > 0 ? Group::sum(sum) / static_cast<float>(columns) : 0.0f;
    if (Group::thread() != 0) return;
    const int label = labels[row];
    const bool valid = label >= 0 && label < columns;
    if (!valid) report(faults, FaultKind::label, label, row, columns - 1);
    const float ofLabel = valid ? from[label] - logSum : 0.0f;
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
template <class Group>
__global__ void __launch_bounds__(kRowThreads, 4)  // aiming at more blocks, ptxas spills
    crossEntropyGradientKernel(const float* logProbabilities, const int32_t* labels, const float* g, float* out,
                               int64_t rows, int columns, float smoothing, float perRow, float perClass) {
  const float scale = g[0] * perRow;
  Group::forRows(rows, [&](int64_t row) {
    const int label = labels[row];
    Group::forColumns(columns, [&](int j) {
      const float target = (j == label ? 1.0f - smoothing : 0.0f) + perClass;
      out[row * columns + j] = (expf(logProbabilities[row * columns + j]) - target) * scale;
    });
  });
}

}  // namespace stepsize::cuda
