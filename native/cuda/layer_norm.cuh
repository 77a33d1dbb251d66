// LayerNorm and RMSNorm of every row, by a warp or a block (row_group.cuh); formulas in cpu/kernels/layer_norm.h. A row
// is read three times (RMSNorm: twice), the first time from memory.
#pragma once

#include "../element_types.h"
#include "row_group.cuh"

namespace stepsize::cuda {

// gamma and beta may be null.
template <bool Centered, class Group, class T>
__global__ void __launch_bounds__(kRowThreads)
    rowNormKernel(const T* x, const T* gamma, const T* beta, T* y, float* means, float* inverses, int64_t rows,
                  int columns, float epsilon) {
  const auto n = static_cast<float>(columns);
  Group::forRows(rows, [&](int64_t row) {
    const T* from = x + row * columns;
    const float mean = Centered ? Group::sumOver(columns, [&](int i) { return toFloat(from[i]); }) / n : 0.0f;
    const float squares = Group::sumOver(columns, [&](int i) {
      const float d = toFloat(from[i]) - mean;
      return d * d;
    });
    const float inverse = 1.0f / sqrtf(squares / n + epsilon);
    if (Group::thread() == 0) {
      if (Centered) means[row] = mean;
      inverses[row] = inverse;
    }
    Group::forColumns(columns, [&](int i) {
      const float normalized = (toFloat(from[i]) - mean) * inverse;
      const float scaled = gamma ? normalized * toFloat(gamma[i]) : normalized;
      y[row * columns + i] = castElement<T>(beta ? scaled + toFloat(beta[i]) : scaled);
    });
  });
}

// dx of every row; see normalizeRowsGradient.
template <bool Centered, class Group, class T>
__global__ void __launch_bounds__(kRowThreads)
    rowNormGradientKernel(const T* x, const T* g, const float* means, const float* inverses, const T* gamma, T* dx,
                          int64_t rows, int columns) {
  const auto n = static_cast<float>(columns);
  Group::forRows(rows, [&](int64_t row) {
    const int64_t at = row * columns;
    const float mean = Centered ? means[row] : 0.0f, inverse = inverses[row];
    const auto normalized = [&](int i) { return (toFloat(x[at + i]) - mean) * inverse; };
    const auto scaled = [&](int i) { return toFloat(g[at + i]) * (gamma ? toFloat(gamma[i]) : 1.0f); };
    const float along = Group::sumOver(columns, [&](int i) { return scaled(i) * normalized(i); }) / n;
    const float shared = Centered ? Group::sumOver(columns, scaled) / n : 0.0f;
    Group::forColumns(
        columns, [&](int i) { dx[at + i] = castElement<T>(inverse * (scaled(i) - shared - normalized(i) * along)); });
  });
}

// dγ = Σ g·x̂ and dβ = Σ g over the rows: a thread per column and part of the rows, parts of a fixed length.
constexpr int kRowNormPart = 128;

template <bool Centered, class T>
__global__ void __launch_bounds__(kRowThreads)
    rowNormColumnsKernel(const T* x, const T* g, const float* means, const float* inverses, float* parts, int64_t rows,
                         int columns) {
  const int column = static_cast<int>(blockIdx.y) * kRowThreads + static_cast<int>(threadIdx.x);
  if (column >= columns) return;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kRowNormPart;
  float dGamma = 0, dBeta = 0;
  for (int64_t row = first; row < min(rows, first + kRowNormPart); row++) {
    const float gradient = toFloat(g[row * columns + column]);
    dGamma += gradient * ((toFloat(x[row * columns + column]) - (Centered ? means[row] : 0.0f)) * inverses[row]);
    dBeta += gradient;
  }
  float* out = parts + static_cast<int64_t>(blockIdx.x) * 2 * columns + column;
  out[0] = dGamma;
  out[columns] = dBeta;
}

// The parts in order. dBeta may be null.
template <class T>
__global__ void __launch_bounds__(kRowThreads)
    addColumnPartsKernel(const float* parts, int64_t count, int columns, T* dGamma, T* dBeta) {
  const int column = static_cast<int>(blockIdx.x) * kRowThreads + static_cast<int>(threadIdx.x);
  if (column >= columns) return;
  float sums[2] = {0, 0};
  for (int64_t part = 0; part < count; part++)
    for (int k = 0; k < 2; k++) sums[k] += parts[(part * 2 + k) * columns + column];
  dGamma[column] = castElement<T>(sums[0]);
  if (dBeta) dBeta[column] = castElement<T>(sums[1]);
}

}  // namespace stepsize::cuda
