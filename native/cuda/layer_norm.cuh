// LayerNorm and RMSNorm of every row and their gradients; cpu/kernels/layer_norm.h has the formulas. A warp or a block
// takes a row (row_group.cuh).
//
// The forward pass reads a row three times (RMSNorm: twice), the first time from memory, and writes it once: 8 bytes
// per float32 element. The backward pass reads x and g twice, the first time from memory, and writes dx, 12 bytes. It
// reads x and g again for the gradients of γ and β, 8 bytes.
//
// Instructions per bfloat16 element on sm_90: 16 for RMSNorm, 21 for its gradient, 5 for the gradient of γ.
#pragma once

#include "column_sums.cuh"
#include "row_group.cuh"

namespace stepsize::cuda {

// y = (x − mean)·r·γ + β for LayerNorm (Centered), y = x·r·γ for RMSNorm. gamma and beta may be null.
template <bool Centered, class Group, class T>
__global__ void __launch_bounds__(kRowThreads)
    rowNormKernel(const T* x, const T* gamma, const T* beta, T* y, float* means, float* inverses, int64_t rows,
                  int columns, float epsilon) {
  const auto n = static_cast<float>(columns);
  const int head = headOfAll<kGroup<T>>(columns, x, y, gamma, beta);
  Group::forRows(rows, [&](int64_t row) {
    const T* from = x + row * columns;
    const auto sumOver = [&](const auto& f) {
      return Group::template sumOver<kGroup<T>>(columns, head, [&](int j, auto elements) {
        float values[decltype(elements)::kCount];
        loadAligned(from + j, values);
        for (float& value : values) value = f(value);
        return sumOf(values);
      });
    };
    const float mean = Centered ? sumOver([](float value) { return value; }) / n : 0.0f;
    const float squares = sumOver([&](float value) { return (value - mean) * (value - mean); });
    const float inverse = 1.0f / sqrtf(squares / n + epsilon);
    if (Group::thread() == 0) {
      if (Centered) means[row] = mean;
      inverses[row] = inverse;
    }
    Group::template forColumns<kGroup<T>>(columns, head, [&](int j, auto elements) {
      constexpr int count = decltype(elements)::kCount;
      float values[count], gammas[count], betas[count];
      loadAligned(from + j, values);
      // Adding −0 leaves every number unchanged, even −0.
#pragma unroll
      for (int e = 0; e < count; e++) gammas[e] = 1, betas[e] = -0.0f;
      if (gamma) loadAligned(gamma + j, gammas);
      if (beta) loadAligned(beta + j, betas);
#pragma unroll
      for (int e = 0; e < count; e++) values[e] = (values[e] - mean) * inverse * gammas[e] + betas[e];
      storeAligned(y + row * columns + j, values);
    });
  });
}

// dx of every row; normalizeRowsGradient in cpu/kernels/layer_norm.h has the formula.
template <bool Centered, class Group, class T>
__global__ void __launch_bounds__(kRowThreads)
    rowNormGradientKernel(const T* x, const T* g, const float* means, const float* inverses, const T* gamma, T* dx,
                          int64_t rows, int columns) {
  const auto n = static_cast<float>(columns);
  const int head = headOfAll<kGroup<T>>(columns, x, g, gamma, dx);
  Group::forRows(rows, [&](int64_t row) {
    const int64_t at = row * columns;
    const float mean = Centered ? means[row] : 0.0f, inverse = inverses[row];
    // Calls f(first, x̂, g·γ) for this thread's columns.
    const auto forNormalized = [&](const auto& f) {
      Group::template forColumns<kGroup<T>>(columns, head, [&](int j, auto elements) {
        constexpr int count = decltype(elements)::kCount;
        float normalized[count], scaled[count], gammas[count];
        loadAligned(x + at + j, normalized);
        loadAligned(g + at + j, scaled);
#pragma unroll
        for (int e = 0; e < count; e++) gammas[e] = 1;
        if (gamma) loadAligned(gamma + j, gammas);
#pragma unroll
        for (int e = 0; e < count; e++) {
          normalized[e] = (normalized[e] - mean) * inverse;
          scaled[e] *= gammas[e];
        }
        f(j, normalized, scaled);
      });
    };
    float along = 0, shared = 0;
    forNormalized([&](int, const auto& normalized, const auto& scaled) {
      if (Centered) shared += sumOf(scaled);
      for (int e = 0; e < static_cast<int>(sizeof(scaled) / sizeof(float)); e++) along += scaled[e] * normalized[e];
    });
    along = Group::sum(along) / n;
    if (Centered) shared = Group::sum(shared) / n;
    forNormalized([&](int j, const auto& normalized, auto& scaled) {
#pragma unroll
      for (int e = 0; e < static_cast<int>(sizeof(scaled) / sizeof(float)); e++)
        scaled[e] = inverse * (scaled[e] - shared - normalized[e] * along);
      storeAligned(dx + at + j, scaled);
    });
  });
}

// dγ = Σ g·x̂ and dβ = Σ g over the rows, by parts: [parts][2][columns]. A block takes one part of a tile of columns.
template <bool Centered, class T>
__global__ void __launch_bounds__(kColumnThreads)
    rowNormColumnsKernel(const T* x, const T* g, const float* means, const float* inverses, float* parts, int64_t rows,
                         int columns) {
  constexpr int size = kGroup<T>, count = Centered ? 2 : 1;
  const auto tile = ColumnTile<size>::ofBlock(rows, columns);
  float sums[count];
  const T* const matrices[2] = {x, g};
  sumRowsOf(tile, matrices, tile.isWhole(x, g), sums, [&](int64_t row, const auto& values, auto& own) {
    const float mean = Centered ? means[row] : 0.0f, inverse = inverses[row];
#pragma unroll
    for (int e = 0; e < size; e++) {
      own[0][e] += values[1][e] * ((values[0][e] - mean) * inverse);
      if constexpr (Centered) own[1][e] += values[1][e];
    }
  });
  if (!tile.hasSum()) return;
  float* out = parts + tile.part * 2 * columns + tile.sumColumn();
  out[0] = sums[0];
  if constexpr (Centered) out[columns] = sums[1];
}

// Adds the parts of some columns per block. dBeta may be null; its parts then have no defined values.
template <class T>
__global__ void __launch_bounds__(kMergeThreads)
    addColumnPartsKernel(const float* parts, int64_t count, int columns, T* dGamma, T* dBeta) {
  const int column = static_cast<int>(blockIdx.x) * kMergeLanes + mergeLane();
  const bool inside = column < columns;
  const auto total = [&](int which) {
    return mergeParts<float>(
        count, inside, [&](int64_t part) { return parts[(part * 2 + which) * columns + column]; },
        [](float a, float b) { return a + b; });
  };
  const float ofGamma = total(0);
  if (mergeRow() == 0 && inside) dGamma[column] = castElement<T>(ofGamma);
  if (!dBeta) return;
  const float ofBeta = total(1);
  if (mergeRow() == 0 && inside) dBeta[column] = castElement<T>(ofBeta);
}

}  // namespace stepsize::cuda
