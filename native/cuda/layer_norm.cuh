// LayerNorm and RMSNorm of every row and their gradients; cpu/kernels/layer_norm.h has the formulas. A warp or a block
// takes a row (row_group.cuh).
//
// The forward pass reads a row three times (RMSNorm: twice), the first time from memory, and writes it once: 8 bytes
// per float32 element. The backward pass reads x and g and writes dx, 12 bytes, and reads x and g again for the
// gradients of γ and β, 8 bytes.
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
  const bool aligned = areRowsAligned(columns, x, y, gamma, beta);
  Group::forRows(rows, [&](int64_t row) {
    const T* from = x + row * columns;
    const auto sumOf = [&](const auto& f) {
      return Group::sumOver(columns, [&](int j, int count) {
        float values[4] = {};
        loadGroup(from + j, aligned, count, values);
        return sumOfGroup(count, [&](int e) { return f(values[e]); });
      });
    };
    const float mean = Centered ? sumOf([](float value) { return value; }) / n : 0.0f;
    const float squares = sumOf([&](float value) { return (value - mean) * (value - mean); });
    const float inverse = 1.0f / sqrtf(squares / n + epsilon);
    if (Group::thread() == 0) {
      if (Centered) means[row] = mean;
      inverses[row] = inverse;
    }
    Group::forColumns(columns, [&](int j, int count) {
      // Adding −0 leaves every number unchanged, even −0.
      float values[4] = {}, gammas[4] = {1, 1, 1, 1}, betas[4] = {-0.0f, -0.0f, -0.0f, -0.0f};
      loadGroup(from + j, aligned, count, values);
      if (gamma) loadGroup(gamma + j, aligned, count, gammas);
      if (beta) loadGroup(beta + j, aligned, count, betas);
#pragma unroll
      for (int e = 0; e < 4; e++) values[e] = (values[e] - mean) * inverse * gammas[e] + betas[e];
      storeGroup(y + row * columns + j, aligned, count, values);
    });
  });
}

// dx of every row; normalizeRowsGradient in cpu/kernels/layer_norm.h has the formula.
template <bool Centered, class Group, class T>
__global__ void __launch_bounds__(kRowThreads)
    rowNormGradientKernel(const T* x, const T* g, const float* means, const float* inverses, const T* gamma, T* dx,
                          int64_t rows, int columns) {
  const auto n = static_cast<float>(columns);
  const bool aligned = areRowsAligned(columns, x, g, gamma, dx);
  Group::forRows(rows, [&](int64_t row) {
    const int64_t at = row * columns;
    const float mean = Centered ? means[row] : 0.0f, inverse = inverses[row];
    // Loads x̂ and g·γ of a group of four columns.
    const auto load = [&](int j, int count, float(&normalized)[4], float(&scaled)[4]) {
      float gammas[4] = {1, 1, 1, 1};
      loadGroup(x + at + j, aligned, count, normalized);
      loadGroup(g + at + j, aligned, count, scaled);
      if (gamma) loadGroup(gamma + j, aligned, count, gammas);
#pragma unroll
      for (int e = 0; e < 4; e++) {
        normalized[e] = (normalized[e] - mean) * inverse;
        scaled[e] *= gammas[e];
      }
    };
    const auto sumOf = [&](const auto& f) {
      return Group::sumOver(columns, [&](int j, int count) {
        float normalized[4] = {}, scaled[4] = {};
        load(j, count, normalized, scaled);
        return sumOfGroup(count, [&](int e) { return f(normalized[e], scaled[e]); });
      });
    };
    const float along = sumOf([](float normalized, float scaled) { return scaled * normalized; }) / n;
    const float shared = Centered ? sumOf([](float, float scaled) { return scaled; }) / n : 0.0f;
    Group::forColumns(columns, [&](int j, int count) {
      float normalized[4] = {}, scaled[4] = {};
      load(j, count, normalized, scaled);
#pragma unroll
      for (int e = 0; e < 4; e++) scaled[e] = inverse * (scaled[e] - shared - normalized[e] * along);
      storeGroup(dx + at + j, aligned, count, scaled);
    });
  });
}

// dγ = Σ g·x̂ and dβ = Σ g over the rows, by parts: [parts][2][columns]. A block takes one part of 64 columns.
template <bool Centered, class T>
__global__ void __launch_bounds__(kColumnThreads)
    rowNormColumnsKernel(const T* x, const T* g, const float* means, const float* inverses, float* parts, int64_t rows,
                         int columns) {
  const ColumnTile tile = ColumnTile::ofBlock(rows, columns);
  const bool aligned = areRowsAligned(columns, x, g), alignedParts = areRowsAligned(columns, parts);
  const auto load = [&](const T* from, int64_t row, float(&values)[4]) {
    loadGroup(from + row * columns + tile.column, aligned, tile.count, values);
  };
  float dGamma[4], dBeta[4];
  sumRowsOf(tile, dGamma, [&](int64_t row, float(&values)[4]) {
    float gradients[4] = {};
    load(x, row, values);
    load(g, row, gradients);
    const float mean = Centered ? means[row] : 0.0f, inverse = inverses[row];
#pragma unroll
    for (int e = 0; e < 4; e++) values[e] = gradients[e] * ((values[e] - mean) * inverse);
  });
  if (Centered) sumRowsOf(tile, dBeta, [&](int64_t row, float(&values)[4]) { load(g, row, values); });
  if (!tile.writes()) return;
  float* out = parts + tile.part * 2 * columns + tile.column;
  storeGroup(out, alignedParts, tile.count, dGamma);
  if (Centered) storeGroup(out + columns, alignedParts, tile.count, dBeta);
}

// Adds the parts of 32 columns per block. dBeta may be null; its parts then have no defined values.
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
