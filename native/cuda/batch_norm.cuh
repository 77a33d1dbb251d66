// Batch normalisation over all axes but the last: y = (x − mean)/√(variance + ε)·γ + β, per channel. As on the CPU,
// statistics are computed for parts of a fixed number of rows (column_sums.cuh), and the parts are merged in float64
// (Chan, Golub, LeVeque 1979).
//
// The forward pass reads x twice for the statistics, the second time from the L2 cache, and once more to write y: 12
// bytes of memory traffic per float32 element. The backward pass reads x and g for the sums (g once more, from the L2
// cache), and both again to write dx: 20 bytes.
//
// Instructions per bfloat16 element on sm_90: 9 to scale and shift, 12 for dx.
#pragma once

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

// The number below which results become 0. NaN stays NaN, as in pointwise::Relu.
__device__ __forceinline__ float floorOf(bool relu) { return relu ? 0.0f : -INFINITY; }

// Whether the groups of rows of these numbers per channel are aligned.
template <int Group, class... Rows>
__device__ __forceinline__ bool areChannelsAligned(int channels, const Rows*... rows) {
  return channels % Group == 0 && areAligned(rows...);
}

// y = x·scale + shift per channel, followed by a ReLU if `relu` is set.
template <class T>
__global__ void __launch_bounds__(kElementThreads)
    scaleShiftKernel(const T* x, T* y, int64_t count, int channels, const float* scale, const float* shift, bool relu) {
  constexpr int group = kGroup<T>;
  const bool aligned = areAligned(x, y) && areChannelsAligned<group>(channels, scale, shift);
  const float floor = floorOf(relu);
  forElements<group>(count, static_cast<unsigned>(channels), aligned, [&](int64_t i, unsigned c, auto elements) {
    constexpr int n = decltype(elements)::kCount;
    float values[n], factors[n], summands[n];
    loadAligned(x + i, values);
    loadAligned(scale + c, factors);
    loadAligned(shift + c, summands);
#pragma unroll
    for (int j = 0; j < n; j++) {
      const float value = values[j] * factors[j] + summands[j];
      values[j] = value < floor ? 0.0f : value;
    }
    storeAligned(y + i, values);
  });
}

// y = (x − mean)/√(variance + ε)·γ + β with given statistics, followed by a ReLU if `relu` is set.
template <class T>
__global__ void __launch_bounds__(kElementThreads)
    batchNormInferenceKernel(const T* x, T* y, int64_t count, int channels, const T* gamma, const T* beta,
                             const float* mean, const float* variance, float epsilon, bool relu) {
  constexpr int group = kGroup<T>;
  const bool aligned = areAligned(x, y) && areChannelsAligned<group>(channels, gamma, beta, mean, variance);
  const float floor = floorOf(relu);
  forElements<group>(count, static_cast<unsigned>(channels), aligned, [&](int64_t i, unsigned c, auto elements) {
    constexpr int n = decltype(elements)::kCount;
    float values[n], m[n], v[n], g[n], b[n];
    loadAligned(x + i, values);
    loadAligned(mean + c, m);
    loadAligned(variance + c, v);
    loadAligned(gamma + c, g);
    loadAligned(beta + c, b);
#pragma unroll
    for (int j = 0; j < n; j++) {
      const float value = (values[j] - m[j]) * (g[j] / sqrtf(v[j] + epsilon)) + b[j];
      values[j] = value < floor ? 0.0f : value;
    }
    storeAligned(y + i, values);
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

// dx = fromG·g + (x − mean)·fromX + constant, per channel.
template <class T>
__global__ void __launch_bounds__(kElementThreads)
    batchNormGradientKernel(const T* x, const T* g, const float* mean, T* dx, int64_t count, int channels,
                            const float* fromG, const float* fromX, const float* constant) {
  constexpr int group = kGroup<T>;
  const bool aligned = areAligned(x, g, dx) && areChannelsAligned<group>(channels, mean, fromG, fromX, constant);
  forElements<group>(count, static_cast<unsigned>(channels), aligned, [&](int64_t i, unsigned c, auto elements) {
    constexpr int n = decltype(elements)::kCount;
    float values[n], gradients[n], m[n], a[n], b[n], k[n];
    loadAligned(x + i, values);
    loadAligned(g + i, gradients);
    loadAligned(mean + c, m);
    loadAligned(fromG + c, a);
    loadAligned(fromX + c, b);
    loadAligned(constant + c, k);
#pragma unroll
    for (int j = 0; j < n; j++) values[j] = a[j] * gradients[j] + (values[j] - m[j]) * b[j] + k[j];
    storeAligned(dx + i, values);
  });
}

}  // namespace stepsize::cuda
