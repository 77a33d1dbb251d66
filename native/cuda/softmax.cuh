// Log-softmax and cross-entropy, a warp or a block per row (row_group.cuh). The sum of exponentials comes with the
// running maximum (Milakov, Gimelshein, arXiv:1805.02867), so that a row is read once for it: the loss moves 4 bytes
// per logit, its gradient, which makes the probabilities anew, 8; of bfloat16 half of that.
#pragma once

#include "report_fault.cuh"
#include "row_group.cuh"

namespace stepsize::cuda {

// max + log Σ exp(row − max), for every thread. NaN for a row with a NaN or an ∞ in it, or of nothing but −∞.
template <class Group, class T>
__device__ __forceinline__ float logSumOfRow(const T* row, int columns, bool aligned) {
  float largest = -INFINITY, sum = 0;
  Group::forColumns(columns, [&](int j, int count) {
    float x[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
    loadGroup(row + j, aligned, count, x);
    const float before = largest;
#pragma unroll
    for (int e = 0; e < 4; e++) largest = fmaxf(largest, x[e]);
    if (largest > before) sum *= expf(before - largest);
      // ∞ − ∞ is NaN, and a NaN that the maximum passed by comes out of the exponential.
#pragma unroll
    for (int e = 0; e < 4; e++)
      if (x[e] != -INFINITY) sum += expf(x[e] - largest);
  });
  const float all = Group::max(largest);
  return all + logf(Group::sum(sum * expf(largest - all)));
}

template <class Group, class T>
__global__ void __launch_bounds__(kRowThreads) logSoftmaxKernel(const T* x, T* out, int64_t rows, int columns) {
  const bool aligned = areRowsAligned(columns, x, out);
  Group::forRows(rows, [&](int64_t row) {
    const T* from = x + row * columns;
    const float logSum = logSumOfRow<Group>(from, columns, aligned);
    Group::forColumns(columns, [&](int j, int count) {
      float values[4] = {};
      loadGroup(from + j, aligned, count, values);
#pragma unroll
      for (int e = 0; e < 4; e++) values[e] -= logSum;
      storeGroup(out + row * columns + j, aligned, count, values);
    });
  });
}

// Σ row, for every thread.
template <class Group, class T>
__device__ __forceinline__ float sumOfRow(const T* row, int columns, bool aligned) {
  return Group::sumOver(columns, [&](int j, int count) {
    float x[4] = {};
    loadGroup(row + j, aligned, count, x);
    return sumOfGroup(count, [&](int e) { return x[e]; });
  });
}

// dx = g − softmax(x)·Σg
template <class Group, class T>
__global__ void __launch_bounds__(kRowThreads)
    logSoftmaxGradientKernel(const T* output, const T* g, T* dx, int64_t rows, int columns) {
  const bool aligned = areRowsAligned(columns, output, g, dx);
  Group::forRows(rows, [&](int64_t row) {
    const int64_t at = row * columns;
    const float sum = sumOfRow<Group>(g + at, columns, aligned);
    Group::forColumns(columns, [&](int j, int count) {
      float gradients[4] = {}, values[4] = {};
      loadGroup(g + at + j, aligned, count, gradients);
      loadGroup(output + at + j, aligned, count, values);
#pragma unroll
      for (int e = 0; e < 4; e++) gradients[e] -= expf(values[e]) * sum;
      storeGroup(dx + at + j, aligned, count, gradients);
    });
  });
}

// A row's loss is −Σ_j t_j·log p_j with t = (1 − s)·onehot + s/classes and log p = logit − logSum.
template <class Group, class T>
__global__ void __launch_bounds__(kRowThreads)
    crossEntropyKernel(const T* logits, const int32_t* labels, float* logSums, float* losses, int64_t rows, int columns,
                       float smoothing, FaultReport faults) {
  const bool aligned = areRowsAligned(columns, logits);
  Group::forRows(rows, [&](int64_t row) {
    const T* from = logits + row * columns;
    const float logSum = logSumOfRow<Group>(from, columns, aligned);
    float ofAll = 0;
    if (smoothing > 0) ofAll = sumOfRow<Group>(from, columns, aligned) / static_cast<float>(columns) - logSum;
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
                               int64_t rows, int columns, float smoothing, float perRow, float perClass,
                               FaultReport faults) {
  const float scale = g[0] * perRow;
  const bool aligned = areRowsAligned(columns, logits, out);
  Group::forRows(rows, [&](int64_t row) {
    const int label = labels[row];
    if ((label < 0 || label >= columns) && Group::thread() == 0)
      report(faults, FaultKind::label, label, row, columns - 1);
    const float logSum = logSums[row];
    Group::forColumns(columns, [&](int j, int count) {
      float x[4] = {};
      loadGroup(logits + row * columns + j, aligned, count, x);
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const float target = (j + e == label ? 1.0f - smoothing : 0.0f) + perClass;
        x[e] = (expf(x[e] - logSum) - target) * scale;
      }
      storeGroup(out + row * columns + j, aligned, count, x);
    });
  });
}

}  // namespace stepsize::cuda
