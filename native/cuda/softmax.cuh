// Log-softmax and cross-entropy, a block per row. A row is read for its maximum, for the sum of exponentials and for
// the result: once from memory while it fits the caches, at 100,000 classes from the L2.
#pragma once

#include "block_reduce.cuh"
#include "report_fault.cuh"

namespace stepsize::cuda {

constexpr int kSoftmaxThreads = 256;

template <class F>
__device__ __forceinline__ void forColumns(int columns, const F& f) {
  for (int j = static_cast<int>(threadIdx.x); j < columns; j += kSoftmaxThreads) f(j);
}

// max + log Σ exp(row − max), for every thread.
__device__ __forceinline__ float logSumOfRow(const float* row, int columns) {
  float largest = -INFINITY;
  // A NaN must come through the maximum, or the row would look healthy.
  bool nan = false;
  forColumns(columns, [&](int j) {
    largest = fmaxf(largest, row[j]);
    nan = nan || row[j] != row[j];
  });
  largest = blockMax<kSoftmaxThreads>(largest);
  float sum = 0;
  forColumns(columns, [&](int j) { sum += expf(row[j] - largest); });
  sum = blockSum<kSoftmaxThreads>(nan ? NAN : sum);
  return largest + logf(sum);
}

__global__ void __launch_bounds__(kSoftmaxThreads)
    logSoftmaxKernel(const float* x, float* out, int64_t rows, int columns) {
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const float* from = x + row * columns;
    const float logSum = logSumOfRow(from, columns);
    forColumns(columns, [&](int j) { out[row * columns + j] = from[j] - logSum; });
  }
}

// dx = g − softmax(x)·Σg
__global__ void __launch_bounds__(kSoftmaxThreads)
    logSoftmaxGradientKernel(const float* output, const float* g, float* dx, int64_t rows, int columns) {
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const int64_t at = row * columns;
    float sum = 0;
    forColumns(columns, [&](int j) { sum += g[at + j]; });
    sum = blockSum<kSoftmaxThreads>(sum);
    forColumns(columns, [&](int j) { dx[at + j] = g[at + j] - expf(output[at + j]) * sum; });
  }
}

// A row's loss is −Σ_j t_j·log p_j with t = (1 − s)·onehot + s/classes. Keeps log p for the gradient.
__global__ void __launch_bounds__(kSoftmaxThreads)
    crossEntropyKernel(const float* logits, const int32_t* labels, float* logProbabilities, float* losses, int64_t rows,
                       int columns, float smoothing, FaultReport faults) {
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const float* from = logits + row * columns;
    const float logSum = logSumOfRow(from, columns);
    float sum = 0;
    forColumns(columns, [&](int j) {
      const float value = from[j] - logSum;
      logProbabilities[row * columns + j] = value;
      sum += value;
    });
    const float ofAll = smoothing > 0 ? blockSum<kSoftmaxThreads>(sum) / static_cast<float>(columns) : 0.0f;
    if (threadIdx.x != 0) continue;
    const int label = labels[row];
    const bool valid = label >= 0 && label < columns;
    if (!valid) report(faults, FaultKind::label, label, row, columns - 1);
    const float ofLabel = valid ? from[label] - logSum : 0.0f;
    losses[row] = -((1.0f - smoothing) * ofLabel + smoothing * ofAll);
  }
}

// The mean of the rows' losses, by one block in one order.
__global__ void __launch_bounds__(kSoftmaxThreads) meanKernel(const float* x, int64_t count, float* out) {
  float sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kSoftmaxThreads) sum += x[i];
  sum = blockSum<kSoftmaxThreads>(sum);
  if (threadIdx.x == 0) out[0] = sum / static_cast<float>(count);
}

// dlogits = (p − t)·g/rows
__global__ void __launch_bounds__(kSoftmaxThreads)
    crossEntropyGradientKernel(const float* logProbabilities, const int32_t* labels, const float* g, float* out,
                               int64_t rows, int columns, float smoothing) {
  const float scale = g[0] / static_cast<float>(rows), ofAll = smoothing / static_cast<float>(columns);
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const int label = labels[row];
    forColumns(columns, [&](int j) {
      const float target = (j == label ? 1.0f - smoothing : 0.0f) + ofAll;
      out[row * columns + j] = (expf(logProbabilities[row * columns + j]) - target) * scale;
    });
  }
}

}  // namespace stepsize::cuda
