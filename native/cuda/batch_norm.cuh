// Batch normalisation over all axes but the last, y = (x − mean)/√(variance + ε)·γ + β per channel: statistics by parts
// of a fixed number of rows, merged in order in double (Chan, Golub, LeVeque 1979), as on the CPU.
// Forward reads x three times (the second and third of a part from the L2) and writes y.
#pragma once

#include "block_reduce.cuh"
#include "fours.cuh"

namespace stepsize::cuda {

constexpr int kNormThreadsX = 32;  // channels of a block, side by side in memory
constexpr int kNormThreadsY = 8;
constexpr int kBatchNormThreads = kNormThreadsX * kNormThreadsY;
constexpr int kNormPart = 512;  // rows that one block takes statistics of

// Where a block works: a part of the rows, a tile of the channels.
struct ColumnTile {
  int64_t first, last;
  int channel;
  bool inside;

  __device__ ColumnTile(int64_t rows, int channels)
      : first(static_cast<int64_t>(blockIdx.x) * kNormPart),
        last(min(rows, first + kNormPart)),
        channel(static_cast<int>(blockIdx.y) * kNormThreadsX + static_cast<int>(threadIdx.x)),
        inside(channel < channels) {}
};

// The sum over the threads of a column, for each of them. All threads must call it.
__device__ __forceinline__ float columnTotal(float value) {
  STEPSIZE_SHARED(float, partial, [kNormThreadsY][kNormThreadsX]);
  // The values of an earlier call may still be read.
  __syncthreads();
  partial[threadIdx.y][threadIdx.x] = value;
  __syncthreads();
  float sum = 0;
  for (int y = 0; y < kNormThreadsY; y++) sum += partial[y][threadIdx.x];
  return sum;
}

// Σ f(row) over the tile's rows, likewise.
template <class F>
__device__ __forceinline__ float columnSum(const ColumnTile& tile, const F& f) {
  float sum = 0;
  if (tile.inside)
    for (int64_t row = tile.first + threadIdx.y; row < tile.last; row += kNormThreadsY) sum += f(row);
  return columnTotal(sum);
}

// Per part and channel the mean and the sum of squared deviations from it: [parts][2][channels].
template <class T>
__global__ void __launch_bounds__(kBatchNormThreads)
    batchStatisticsKernel(const T* x, float* parts, int64_t rows, int channels) {
  const ColumnTile tile(rows, channels);
  const T* column = x + tile.channel;
  const float mean = columnSum(tile, [&](int64_t row) { return toFloat(column[row * channels]); }) /
                     static_cast<float>(tile.last - tile.first);
  const float deviations = columnSum(tile, [&](int64_t row) {
    const float d = toFloat(column[row * channels]) - mean;
    return d * d;
  });
  if (threadIdx.y != 0 || !tile.inside) return;
  float* out = parts + static_cast<int64_t>(blockIdx.x) * 2 * channels + tile.channel;
  out[0] = mean;
  out[channels] = deviations;
}

template <class T>
struct BatchNormTensors {
  const T *gamma, *beta;
  float *runningMean, *runningVariance, *mean, *inverseDeviation, *scale, *shift;
};

// A thread per channel merges its parts.
template <class T>
__global__ void __launch_bounds__(kBatchNormThreads)
    mergeStatisticsKernel(const float* parts, int64_t rows, int channels, double epsilon, float momentum,
                          BatchNormTensors<T> t) {
  const int c = static_cast<int>(blockIdx.x) * kBatchNormThreads + static_cast<int>(threadIdx.x);
  if (c >= channels) return;
  double count = 0, mean = 0, deviations = 0;
  for (int64_t first = 0, part = 0; first < rows; first += kNormPart, part++) {
    const auto size = static_cast<double>(min(int64_t{kNormPart}, rows - first));
    const double delta = static_cast<double>(parts[part * 2 * channels + c]) - mean;
    deviations +=
        static_cast<double>(parts[(part * 2 + 1) * channels + c]) + delta * delta * count * size / (count + size);
    mean += delta * size / (count + size);
    count += size;
  }
  const double variance = deviations / count;
  const double inverse = 1 / sqrt(variance + epsilon);
  t.mean[c] = static_cast<float>(mean);
  t.inverseDeviation[c] = static_cast<float>(inverse);
  const auto gamma = static_cast<double>(toFloat(t.gamma[c])), beta = static_cast<double>(toFloat(t.beta[c]));
  t.scale[c] = static_cast<float>(inverse * gamma);
  t.shift[c] = static_cast<float>(beta - mean * inverse * gamma);
  const double unbiased = count > 1 ? deviations / (count - 1) : variance;
  // What is not finite must not outlive the step in what is remembered.
  if (mean - mean != 0 || unbiased - unbiased != 0) return;
  t.runningMean[c] += momentum * (static_cast<float>(mean) - t.runningMean[c]);
  t.runningVariance[c] += momentum * (static_cast<float>(unbiased) - t.runningVariance[c]);
}

// y = x·scale + shift, per channel.
template <class T>
__global__ void __launch_bounds__(kFoursThreads)
    scaleShiftKernel(const T* x, T* y, int64_t count, int channels, const float* scale, const float* shift) {
  const bool aligned = isAligned16(x) && isAligned16(y);
  const Repeated scales(scale, channels), shifts(shift, channels);
  forFours(count, channels, [&](int64_t i, int elements, int64_t c) {
    float values[4] = {}, factors[4], summands[4];
    scales.load(c, factors);
    shifts.load(c, summands);
    loadGroup(x + i, aligned, elements, values);
#pragma unroll
    for (int j = 0; j < 4; j++) values[j] = values[j] * factors[j] + summands[j];
    storeGroup(y + i, aligned, elements, values);
  });
}

template <class T>
__global__ void __launch_bounds__(kFoursThreads)
    batchNormInferenceKernel(const T* x, T* y, int64_t count, int channels, const T* gamma, const T* beta,
                             const float* mean, const float* variance, float epsilon) {
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
    for (int j = 0; j < 4; j++) values[j] = (values[j] - m[j]) * (g[j] / sqrtf(v[j] + epsilon)) + b[j];
    storeGroup(y + i, aligned, elements, values);
  });
}

// Per part and channel Σg and Σg·(x − mean): [parts][2][channels].
template <class T>
__global__ void __launch_bounds__(kBatchNormThreads)
    batchGradientSumsKernel(const T* x, const T* g, const float* mean, float* parts, int64_t rows, int channels) {
  const ColumnTile tile(rows, channels);
  const float center = tile.inside ? mean[tile.channel] : 0.0f;
  const float sum = columnSum(tile, [&](int64_t row) { return toFloat(g[row * channels + tile.channel]); });
  // Centred before the product, so that a mean far from zero does not cancel.
  const float product = columnSum(tile, [&](int64_t row) {
    const int64_t at = row * channels + tile.channel;
    return toFloat(g[at]) * (toFloat(x[at]) - center);
  });
  if (threadIdx.y != 0 || !tile.inside) return;
  float* out = parts + static_cast<int64_t>(blockIdx.x) * 2 * channels + tile.channel;
  out[0] = sum;
  out[channels] = product;
}

// dβ = Σg,  dγ = Σg·x̂, and the factors of dx = γ·inverse·(g − dβ/n − x̂·dγ/n).
template <class T>
struct BatchNormGradientTensors {
  const T* gamma;
  const float* inverseDeviation;
  T *dGamma, *dBeta;
  float *fromG, *fromX, *constant;
};

template <class T>
__global__ void __launch_bounds__(kBatchNormThreads)
    mergeGradientSumsKernel(const float* parts, int64_t rows, int channels, BatchNormGradientTensors<T> t) {
  const int c = static_cast<int>(blockIdx.x) * kBatchNormThreads + static_cast<int>(threadIdx.x);
  if (c >= channels) return;
  double sumG = 0, sumGx = 0;
  for (int64_t first = 0, part = 0; first < rows; first += kNormPart, part++) {
    sumG += static_cast<double>(parts[part * 2 * channels + c]);
    sumGx += static_cast<double>(parts[(part * 2 + 1) * channels + c]);
  }
  const auto inverse = static_cast<double>(t.inverseDeviation[c]);
  sumGx *= inverse;
  t.dBeta[c] = castElement<T>(static_cast<float>(sumG));
  t.dGamma[c] = castElement<T>(static_cast<float>(sumGx));
  const double factor = static_cast<double>(toFloat(t.gamma[c])) * inverse,
               n = static_cast<double>(max(int64_t{1}, rows));
  t.fromG[c] = static_cast<float>(factor);
  t.fromX[c] = static_cast<float>(-factor * sumGx / n * inverse);
  t.constant[c] = static_cast<float>(-factor * sumG / n);
}

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
