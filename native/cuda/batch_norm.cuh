// Batch normalisation over all axes but the last: y = (x − mean)/√(variance + ε)·γ + β, per channel. As on the CPU,
// statistics are computed for parts of a fixed number of rows (column_sums.cuh), and the parts are merged in float64
// (Chan, Golub, LeVeque 1979).
//
// The forward pass reads x twice for the statistics, the second time from the L2 cache, and once more to write y: 12
// bytes of memory traffic per float32 element. The backward pass reads x and g for the sums (g once more, from the L2
// cache), and both again to write dx: 20 bytes.
#pragma once

#include "../pointwise.h"
#include "column_sums.cuh"

namespace stepsize::cuda {

// The mean and the sum of squared deviations from the mean, per part and channel: [parts][2][channels]. A block takes
// one part of 64 channels.
template <class T>
__global__ void __launch_bounds__(kColumnThreads)
    batchStatisticsKernel(const T* x, float* parts, int64_t rows, int channels) {
  const ColumnTile tile = ColumnTile::ofBlock(rows, channels);
  const bool aligned = channels % 4 == 0 && isAligned16(x), alignedParts = channels % 4 == 0 && isAligned16(parts);
  const auto load = [&](int64_t row, float(&values)[4]) {
    loadGroup(x + row * channels + tile.column, aligned, tile.count, values);
  };
  float mean[4], deviations[4];
  sumRowsOf(tile, mean, load);
#pragma unroll
  for (int e = 0; e < 4; e++) mean[e] /= static_cast<float>(tile.last - tile.first);
  sumRowsOf(tile, deviations, [&](int64_t row, float(&values)[4]) {
    load(row, values);
#pragma unroll
    for (int e = 0; e < 4; e++) values[e] = (values[e] - mean[e]) * (values[e] - mean[e]);
  });
  if (!tile.writes()) return;
  float* out = parts + tile.part * 2 * channels + tile.column;
  storeGroup(out, alignedParts, tile.count, mean);
  storeGroup(out + channels, alignedParts, tile.count, deviations);
}

// The tensors of batch normalisation in training.
template <class T>
struct BatchNormTensors {
  const T *gamma, *beta;
  float *runningMean, *runningVariance, *mean, *inverseDeviation, *scale, *shift;
};

// The number of some rows of a channel, their mean, and the sum of squared deviations from the mean.
struct Moments {
  double count, mean, deviations;

  __device__ static Moments merge(const Moments& a, const Moments& b) {
    if (b.count == 0) return a;
    const double count = a.count + b.count, delta = b.mean - a.mean;
    return {count, a.mean + delta * b.count / count,
            a.deviations + b.deviations + delta * delta * a.count * b.count / count};
  }
};

// Merges the parts of 32 channels per block, then writes the statistics, the running statistics, and the scale and
// shift of each channel.
template <class T>
__global__ void __launch_bounds__(kMergeThreads, 1)  // if more blocks are requested, ptxas spills
    mergeStatisticsKernel(const float* parts, int64_t rows, int channels, double epsilon, float momentum,
                          BatchNormTensors<T> t) {
  const int c = static_cast<int>(blockIdx.x) * kMergeLanes + mergeLane();
  const auto load = [&](int64_t part) {
    const int64_t size = min(int64_t{kColumnPart}, rows - part * kColumnPart);
    return Moments{static_cast<double>(size), static_cast<double>(parts[part * 2 * channels + c]),
                   static_cast<double>(parts[(part * 2 + 1) * channels + c])};
  };
  const Moments all = mergeParts<Moments>((rows - 1) / kColumnPart + 1, c < channels, load, Moments::merge);
  if (mergeRow() != 0 || c >= channels) return;
  const double variance = all.deviations / all.count;
  const double inverse = 1 / sqrt(variance + epsilon);
  t.mean[c] = static_cast<float>(all.mean);
  t.inverseDeviation[c] = static_cast<float>(inverse);
  const auto gamma = static_cast<double>(toFloat(t.gamma[c])), beta = static_cast<double>(toFloat(t.beta[c]));
  t.scale[c] = static_cast<float>(inverse * gamma);
  t.shift[c] = static_cast<float>(beta - all.mean * inverse * gamma);
  const double unbiased = all.count > 1 ? all.deviations / (all.count - 1) : variance;
  // Statistics that are not finite must not change the running ones, which outlive the step.
  if (all.mean - all.mean != 0 || unbiased - unbiased != 0) return;
  t.runningMean[c] += momentum * (static_cast<float>(all.mean) - t.runningMean[c]);
  t.runningVariance[c] += momentum * (static_cast<float>(unbiased) - t.runningVariance[c]);
}

// y = x·scale + shift per channel, followed by a ReLU if `relu` is set. A thread takes four elements at a time.
template <class T>
__global__ void __launch_bounds__(kFoursThreads)
    scaleShiftKernel(const T* x, T* y, int64_t count, int channels, const float* scale, const float* shift, bool relu) {
  const bool aligned = isAligned16(x) && isAligned16(y);
  const Repeated scales(scale, channels), shifts(shift, channels);
  forFours(count, channels, [&](int64_t i, int elements, int64_t c) {
    float values[4] = {}, factors[4], summands[4];
    scales.load(c, factors);
    shifts.load(c, summands);
    loadGroup(x + i, aligned, elements, values);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      values[j] = values[j] * factors[j] + summands[j];
      if (relu) values[j] = pointwise::Relu{}(values[j]);
    }
    storeGroup(y + i, aligned, elements, values);
  });
}

// y = (x − mean)/√(variance + ε)·γ + β with given statistics, followed by a ReLU if `relu` is set. A thread takes four
// elements at a time.
template <class T>
__global__ void __launch_bounds__(kFoursThreads)
    batchNormInferenceKernel(const T* x, T* y, int64_t count, int channels, const T* gamma, const T* beta,
                             const float* mean, const float* variance, float epsilon, bool relu) {
  const bool aligned = isAligned16(x) && isAligned16(y);
  const Repeated gammas(gamma, channels), betas(beta, channels);
  const Repeated means(mean, channels), variances(variance, channels);
  forFours(count, channels, [&](int64_t i, int elements, int64_t c) {
    float values[4] = {}, m[4], v[4], g[4], b[4];
    means.load(c, m);
    variances.load(c, v);
    gammas.load(c, g);
    betas.load(c, b);
    loadGroup(x + i, aligned, elements, values);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      values[j] = (values[j] - m[j]) * (g[j] / sqrtf(v[j] + epsilon)) + b[j];
      if (relu) values[j] = pointwise::Relu{}(values[j]);
    }
    storeGroup(y + i, aligned, elements, values);
  });
}

// Σg and Σg·(x − mean), per part and channel: [parts][2][channels]. A block takes one part of 64 channels.
template <class T>
__global__ void __launch_bounds__(kColumnThreads)
    batchGradientSumsKernel(const T* x, const T* g, const float* mean, float* parts, int64_t rows, int channels) {
  const ColumnTile tile = ColumnTile::ofBlock(rows, channels);
  const bool aligned = channels % 4 == 0 && isAligned16(x) && isAligned16(g) && isAligned16(mean);
  const bool alignedParts = channels % 4 == 0 && isAligned16(parts);
  const auto load = [&](const T* from, int64_t row, float(&values)[4]) {
    loadGroup(from + row * channels + tile.column, aligned, tile.count, values);
  };
  float centers[4] = {}, sums[4], products[4];
  loadGroup(mean + tile.column, aligned, tile.count, centers);
  sumRowsOf(tile, sums, [&](int64_t row, float(&values)[4]) { load(g, row, values); });
  // Subtracting the mean before the product avoids cancellation if the mean is far from zero.
  sumRowsOf(tile, products, [&](int64_t row, float(&values)[4]) {
    float gradients[4] = {};
    load(x, row, values);
    load(g, row, gradients);
#pragma unroll
    for (int e = 0; e < 4; e++) values[e] = gradients[e] * (values[e] - centers[e]);
  });
  if (!tile.writes()) return;
  float* out = parts + tile.part * 2 * channels + tile.column;
  storeGroup(out, alignedParts, tile.count, sums);
  storeGroup(out + channels, alignedParts, tile.count, products);
}

// dβ = Σg, dγ = Σg·x̂, and the three factors of dx = γ·inverse·(g − dβ/n − x̂·dγ/n).
template <class T>
struct BatchNormGradientTensors {
  const T* gamma;
  const float* inverseDeviation;
  T *dGamma, *dBeta;
  float *fromG, *fromX, *constant;
};

// Two sums that are merged together.
struct TwoSums {
  double first, second;
  __device__ static TwoSums merge(const TwoSums& a, const TwoSums& b) {
    return {a.first + b.first, a.second + b.second};
  }
};

// Merges the parts of 32 channels per block, then writes dγ, dβ and the factors of dx.
template <class T>
__global__ void __launch_bounds__(kMergeThreads)
    mergeGradientSumsKernel(const float* parts, int64_t rows, int channels, BatchNormGradientTensors<T> t) {
  const int c = static_cast<int>(blockIdx.x) * kMergeLanes + mergeLane();
  const auto load = [&](int64_t part) {
    return TwoSums{static_cast<double>(parts[part * 2 * channels + c]),
                   static_cast<double>(parts[(part * 2 + 1) * channels + c])};
  };
  const TwoSums all = mergeParts<TwoSums>((rows + kColumnPart - 1) / kColumnPart, c < channels, load, TwoSums::merge);
  if (mergeRow() != 0 || c >= channels) return;
  const double sumG = all.first;
  const auto inverse = static_cast<double>(t.inverseDeviation[c]);
  const double sumGx = all.second * inverse;
  t.dBeta[c] = castElement<T>(static_cast<float>(sumG));
  t.dGamma[c] = castElement<T>(static_cast<float>(sumGx));
  const double factor = static_cast<double>(toFloat(t.gamma[c])) * inverse,
               n = static_cast<double>(max(int64_t{1}, rows));
  t.fromG[c] = static_cast<float>(factor);
  t.fromX[c] = static_cast<float>(-factor * sumGx / n * inverse);
  t.constant[c] = static_cast<float>(-factor * sumG / n);
}

// dx = fromG·g + (x − mean)·fromX + constant, per channel. A thread takes four elements at a time.
template <class T>
__global__ void __launch_bounds__(kFoursThreads)
    batchNormGradientKernel(const T* x, const T* g, const float* mean, T* dx, int64_t count, int channels,
                            const float* fromG, const float* fromX, const float* constant) {
  const bool aligned = isAligned16(x) && isAligned16(g) && isAligned16(dx);
  const Repeated means(mean, channels), ofG(fromG, channels), ofX(fromX, channels), constants(constant, channels);
  forFours(count, channels, [&](int64_t i, int elements, int64_t c) {
    float values[4] = {}, gradients[4] = {}, m[4], a[4], b[4], k[4];
    means.load(c, m);
    ofG.load(c, a);
    ofX.load(c, b);
    constants.load(c, k);
    loadGroup(x + i, aligned, elements, values);
    loadGroup(g + i, aligned, elements, gradients);
#pragma unroll
    for (int j = 0; j < 4; j++) values[j] = a[j] * gradients[j] + (values[j] - m[j]) * b[j] + k[j];
    storeGroup(dx + i, aligned, elements, values);
  });
}

}  // namespace stepsize::cuda
