// Batch normalisation over all axes but the last: y = (x − mean)/√(variance + ε)·γ + β, per channel. As on the CPU,
// statistics are computed for parts of the rows (column_sums.cuh), and the parts are merged in float64 (Chan, Golub,
// LeVeque 1979).
//
// The forward pass reads x for the statistics, and once more to write y: 12 bytes of memory traffic per float32
// element. The backward pass reads x and g for the sums, and both again to write dx: 20 bytes.
//
// Instructions per bfloat16 element on sm_90: 9 for the statistics, 9 to scale and shift, 9 for the sums of the
// backward pass, 12 for dx; 21 in float64 to merge a part; 18 for inference, which computes the factor of a
// channel again for each group: 4 bytes hide 27, and a kernel for the factors would take 2 µs.
#pragma once

#include "column_sums.cuh"

namespace stepsize::cuda {

// The mean and the sum of squared deviations from the mean, per part and channel: [parts][2][channels]. A block takes
// one part of a tile of channels, chunk by chunk. It reads a chunk twice, the second time from the cache of its
// multiprocessor.
template <class T>
__global__ void __launch_bounds__(kColumnThreads)
    batchStatisticsKernel(const T* x, float* parts, int64_t rows, int channels) {
  constexpr int size = kGroup<T>;
  using Tile = ColumnTile<size>;
  STEPSIZE_SHARED(float, means, [Tile::kColumns]);
  const Tile tile = Tile::ofBlock(rows, channels);
  const T* const matrices[1] = {x};
  // The number of rows so far; the mean and the squared deviations of the column of which this thread gets sums.
  float count = 0, mean = 0, deviations = 0;
  tile.visit(tile.isWhole(x), [&](auto elements) {
#pragma unroll 1
    for (int64_t chunk = tile.first; chunk < tile.last; chunk += kColumnChunk) {
      const int64_t end = min(chunk + kColumnChunk, tile.last);
      const auto n = static_cast<float>(end - chunk);
      float sums[size] = {}, squares[size] = {}, centers[size];
      forRowsOf(tile, elements, matrices, chunk, end, [&](int64_t, const auto& values) {
#pragma unroll
        for (int e = 0; e < size; e++) sums[e] += values[0][e];
      });
      const float meanOfChunk = addOverRows(sums) / n;
      if (tile.thread() < Tile::kColumns) means[tile.thread()] = meanOfChunk;
      __syncthreads();
#pragma unroll
      for (int e = 0; e < size; e++) centers[e] = means[tile.thread() % kColumnLanes * size + e];
      forRowsOf(tile, elements, matrices, chunk, end, [&](int64_t, const auto& values) {
#pragma unroll
        for (int e = 0; e < size; e++) squares[e] += (values[0][e] - centers[e]) * (values[0][e] - centers[e]);
      });
      const float squaresOfChunk = addOverRows(squares);
      if (count == 0) {
        mean = meanOfChunk;
        deviations = squaresOfChunk;
      } else {
        const float share = n / (count + n), delta = meanOfChunk - mean;
        mean += delta * share;
        deviations += squaresOfChunk + delta * delta * count * share;
      }
      count += n;
    }
  });
  if (!tile.hasSum()) return;
  float* out = parts + tile.part * 2 * channels + tile.sumColumn();
  out[0] = mean;
  out[channels] = deviations;
}

// The tensors of batch normalisation in training.
template <class T>
struct BatchNormTensors {
  const T *gamma, *beta;
  float *runningMean, *runningVariance, *mean, *inverseDeviation, *scale, *shift;
};

// Sums over some rows of a channel, given a number `center` near the mean: Σ (x − center) of the means, Σ (x − center)²
// of the means, and the squared deviations from the means. Adding them needs no division, and because the means are
// close to `center` nothing cancels.
struct Moments {
  double first, second, deviations;

  __device__ static Moments merge(const Moments& a, const Moments& b) {
    return {a.first + b.first, a.second + b.second, a.deviations + b.deviations};
  }
};

// Merges the parts of some channels per block, then writes the statistics, the running statistics, and the scale and
// shift of each channel.
template <class T>
__global__ void __launch_bounds__(kMergeThreads, 1)  // if more blocks are requested, ptxas spills
    mergeStatisticsKernel(const float* parts, int64_t rows, int channels, double epsilon, float momentum,
                          BatchNormTensors<T> t) {
  const int c = static_cast<int>(blockIdx.x) * kMergeLanes + mergeLane();
  const int64_t rowsOfPart = columnPartOf(rows);
  const double center = c < channels ? static_cast<double>(parts[c]) : 0;
  const auto load = [&](int64_t part) {
    const auto size = static_cast<double>(min(rowsOfPart, rows - part * rowsOfPart));
    const double from = static_cast<double>(parts[part * 2 * channels + c]) - center;
    return Moments{size * from, size * from * from, static_cast<double>(parts[(part * 2 + 1) * channels + c])};
  };
  const Moments sums = mergeParts<Moments>(columnParts(rows), c < channels, load, Moments::merge);
  if (mergeRow() != 0 || c >= channels) return;
  const auto count = static_cast<double>(rows);
  const double mean = center + sums.first / count;
  const double deviations = sums.deviations + (sums.second - sums.first * sums.first / count);
  const double variance = deviations / count;
  const double inverse = 1 / sqrt(variance + epsilon);
  t.mean[c] = static_cast<float>(mean);
  t.inverseDeviation[c] = static_cast<float>(inverse);
  const auto gamma = static_cast<double>(toFloat(t.gamma[c])), beta = static_cast<double>(toFloat(t.beta[c]));
  t.scale[c] = static_cast<float>(inverse * gamma);
  t.shift[c] = static_cast<float>(beta - mean * inverse * gamma);
  const double unbiased = count > 1 ? deviations / (count - 1) : variance;
  // Statistics that are not finite must not change the running ones, which outlive the step.
  if (mean - mean != 0 || unbiased - unbiased != 0) return;
  t.runningMean[c] += momentum * (static_cast<float>(mean) - t.runningMean[c]);
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
      const float value = (values[j] - m[j]) * (g[j] * rsqrtf(v[j] + epsilon)) + b[j];
      values[j] = value < floor ? 0.0f : value;
    }
    storeAligned(y + i, values);
  });
}

// Σg and Σg·(x − mean), per part and channel: [parts][2][channels]. A block takes one part of a tile of channels.
template <class T>
__global__ void __launch_bounds__(kColumnThreads)
    batchGradientSumsKernel(const T* x, const T* g, const float* mean, float* parts, int64_t rows, int channels) {
  constexpr int size = kGroup<T>;
  const auto tile = ColumnTile<size>::ofBlock(rows, channels);
  float centers[size];
#pragma unroll
  for (int e = 0; e < size; e++) centers[e] = tile.column() + e < channels ? mean[tile.column() + e] : 0.0f;
  float sums[2];
  // Subtracting the mean before the product avoids cancellation if the mean is far from zero.
  const T* const matrices[2] = {x, g};
  sumRowsOf(tile, matrices, tile.isWhole(x, g), sums, [&](int64_t, const auto& values, auto& own) {
#pragma unroll
    for (int e = 0; e < size; e++) {
      own[0][e] += values[1][e];
      own[1][e] += values[1][e] * (values[0][e] - centers[e]);
    }
  });
  if (!tile.hasSum()) return;
  float* out = parts + tile.part * 2 * channels + tile.sumColumn();
  out[0] = sums[0];
  out[channels] = sums[1];
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

// Merges the parts of some channels per block, then writes dγ, dβ and the factors of dx.
template <class T>
__global__ void __launch_bounds__(kMergeThreads)
    mergeGradientSumsKernel(const float* parts, int64_t rows, int channels, BatchNormGradientTensors<T> t) {
  const int c = static_cast<int>(blockIdx.x) * kMergeLanes + mergeLane();
  const auto load = [&](int64_t part) {
    return TwoSums{static_cast<double>(parts[part * 2 * channels + c]),
                   static_cast<double>(parts[(part * 2 + 1) * channels + c])};
  };
  const TwoSums all = mergeParts<TwoSums>(columnParts(rows), c < channels, load, TwoSums::merge);
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
