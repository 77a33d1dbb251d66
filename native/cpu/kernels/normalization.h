// Batch normalisation over all axes but the last: y = (x − mean)/√(variance + ε)·γ + β, per channel.
//
// Statistics are computed for fixed chunks of rows. Each chunk has its own mean and sum of squared deviations, and the
// chunks are merged in order in float64 (Chan, Golub, LeVeque 1979). This avoids cancellation, and gives the same bits
// for any number of threads. The forward pass reads x twice for the statistics, the second time from the cache, and
// once more to normalise.
#pragma once

#include <math.h>

#include "../../operations_attributes.h"
#include "../../pointwise.h"
#include "vector.h"

namespace stepsize::STEPSIZE_ISA {

// A tensor as rows of its last axis.
struct Rows {
  int64_t rows, channels;
  explicit Rows(const TensorView& x) {
    channels = x.shape[x.shape.rank - 1];
    rows = x.shape.product(0, x.shape.rank - 1);
  }
  // The rows of a task: about half of an L1 cache for few channels, and of an L2 cache for many.
  int64_t chunk() const { return most(16, kChunk / most(1, channels)); }
  int64_t chunks() const { return ceilDivide(rows, chunk()); }
};

// sums[c] = Σ f(i) over the rows, where i is the flat index of row r and channel c. Channels are summed in vectors,
// four rows at a time; the remaining channels one by one.
template <class F, class G>
STEPSIZE_INLINE void sumOverRows(int64_t from, int64_t to, int64_t channels, float* sums, const F& vectorAt,
                                 const G& scalarAt) {
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) {
    Vec s[4] = {broadcast(0), broadcast(0), broadcast(0), broadcast(0)};
    int64_t r = from;
    for (; r + 4 <= to; r += 4)
      for (int j = 0; j < 4; j++) s[j] = s[j] + vectorAt((r + j) * channels + c, c);
    for (; r < to; r++) s[0] = s[0] + vectorAt(r * channels + c, c);
    store(sums + c, (s[0] + s[1]) + (s[2] + s[3]));
  }
  for (; c < channels; c++) {
    float s = 0;
    for (int64_t r = from; r < to; r++) s += scalarAt(r * channels + c, c);
    sums[c] = s;
  }
}

// y = f(x, channel), followed by a ReLU if `relu` is set.
template <class F>
STEPSIZE_INLINE void writeNormalized(const Invocation& call, const Rows& shape, bool relu, const F& f) {
  const int64_t channels = shape.channels;
  const float* x = call.input(0).floats();
  float* y = call.output(0).floats();
  parallelChunks(call, shape.rows, shape.chunk(), [&](int64_t from, int64_t to) {
    for (int64_t r = from; r < to; r++) {
      const float* __restrict__ row = x + r * channels;
      float* __restrict__ out = y + r * channels;
      if (relu)
        for (int64_t c = 0; c < channels; c++) out[c] = pointwise::Relu{}(f(row[c], c));
      else
        for (int64_t c = 0; c < channels; c++) out[c] = f(row[c], c);
    }
  });
}

inline void batchNorm(const Invocation& call) {
  const float* __restrict__ x = call.input(0).floats();
  const float* gamma = call.input(1).floats();
  const float* beta = call.input(2).floats();
  float* runningMean = call.input(3).floats();
  float* runningVariance = call.input(4).floats();
  float* means = call.output(1).floats();
  float* inverseDeviations = call.output(2).floats();
  const float momentum = call.number(attribute::batchNorm::momentum);
  const double epsilon = call.attributes[attribute::batchNorm::epsilon];
  const Rows shape(call.input(0));
  const int64_t channels = shape.channels, rows = shape.rows, chunk = shape.chunk(), chunks = shape.chunks();
  if (rows == 0) {
    // The backward pass multiplies these statistics with sums over no rows, so they must not hold what was in the
    // memory before.
    zeroFloats(means, channels);
    zeroFloats(inverseDeviations, channels);
    return;
  }
  float* scale = static_cast<float*>(call.workspace((2 + 2 * chunks) * channels * 4));
  float* shift = scale + channels;
  float* partial = shift + channels;
  parallelFor(call, chunks, [&](int64_t i) {
    const int64_t from = i * chunk, to = least(rows, from + chunk);
    float* mean = partial + i * 2 * channels;
    float* deviations = mean + channels;
    sumOverRows(
        from, to, channels, mean, [&](int64_t at, int64_t) { return load(x + at); },
        [&](int64_t at, int64_t) { return x[at]; });
    for (int64_t c = 0; c < channels; c++) mean[c] /= static_cast<float>(to - from);
    sumOverRows(
        from, to, channels, deviations,
        [&](int64_t at, int64_t c) {
          const Vec d = load(x + at) - load(mean + c);
          return d * d;
        },
        [&](int64_t at, int64_t c) { return (x[at] - mean[c]) * (x[at] - mean[c]); });
  });
  for (int64_t c = 0; c < channels; c++) {
    double count = 0, mean = 0, deviations = 0;
    for (int64_t i = 0; i < chunks; i++) {
      const auto size = static_cast<double>(least(chunk, rows - i * chunk));
      const double delta = static_cast<double>(partial[i * 2 * channels + c]) - mean;
      deviations +=
          static_cast<double>(partial[(i * 2 + 1) * channels + c]) + delta * delta * count * size / (count + size);
      mean += delta * size / (count + size);
      count += size;
    }
    const double variance = deviations / count;
    const double inverse = 1 / __builtin_sqrt(variance + epsilon);
    means[c] = static_cast<float>(mean);
    inverseDeviations[c] = static_cast<float>(inverse);
    scale[c] = static_cast<float>(inverse * static_cast<double>(gamma[c]));
    shift[c] = static_cast<float>(static_cast<double>(beta[c]) - mean * inverse * static_cast<double>(gamma[c]));
    // As in PyTorch, the running variance is the unbiased one, and normalisation uses the biased one.
    const double unbiased = count > 1 ? deviations / (count - 1) : variance;
    // A batch that is not finite shows in the loss; it must not change the running statistics, which outlive the step.
    if (mean - mean != 0 || unbiased - unbiased != 0) continue;
    runningMean[c] += momentum * (static_cast<float>(mean) - runningMean[c]);
    runningVariance[c] += momentum * (static_cast<float>(unbiased) - runningVariance[c]);
  }
  writeNormalized(call, shape, call.integer(attribute::batchNorm::relu) != 0,
                  [&](float value, int64_t c) { return value * scale[c] + shift[c]; });
}

inline void batchNormInference(const Invocation& call) {
  const float* gamma = call.input(1).floats();
  const float* beta = call.input(2).floats();
  const float* mean = call.input(3).floats();
  const float* variance = call.input(4).floats();
  const float epsilon = call.number(attribute::batchNormInference::epsilon);
  const Rows shape(call.input(0));
  const int64_t channels = shape.channels;
  float* scale = static_cast<float*>(call.workspace(channels * 4));
  for (int64_t c = 0; c < channels; c++) scale[c] = gamma[c] / __builtin_sqrtf(variance[c] + epsilon);
  writeNormalized(call, shape, call.integer(attribute::batchNormInference::relu) != 0,
                  [&](float value, int64_t c) { return (value - mean[c]) * scale[c] + beta[c]; });
}

// With x̂ = (x − mean)·inverse and g the incoming gradient:
//   dβ = Σg,  dγ = Σg·x̂,  dx = γ·inverse·(g − dβ/n − x̂·dγ/n)
inline void batchNormGradient(const Invocation& call) {
  const float* __restrict__ x = call.input(0).floats();
  const float* __restrict__ g = call.input(1).floats();
  const float* gamma = call.input(2).floats();
  const float* mean = call.input(3).floats();
  const float* inverse = call.input(4).floats();
  float* __restrict__ dx = call.output(0).floats();
  float* dGamma = call.output(1).floats();
  float* dBeta = call.output(2).floats();
  const Rows shape(call.input(0));
  const int64_t channels = shape.channels, rows = shape.rows, chunk = shape.chunk(), chunks = shape.chunks();
  float* fromG = static_cast<float*>(call.workspace((3 + 2 * chunks) * channels * 4));
  float* fromX = fromG + channels;
  float* constant = fromX + channels;
  float* partial = constant + channels;
  parallelFor(call, chunks, [&](int64_t i) {
    const int64_t from = i * chunk, to = least(rows, from + chunk);
    float* sums = partial + i * 2 * channels;
    sumOverRows(
        from, to, channels, sums, [&](int64_t at, int64_t) { return load(g + at); },
        [&](int64_t at, int64_t) { return g[at]; });
    // Subtracting the mean before the product avoids cancellation if the mean is far from zero.
    sumOverRows(
        from, to, channels, sums + channels,
        [&](int64_t at, int64_t c) { return load(g + at) * (load(x + at) - load(mean + c)); },
        [&](int64_t at, int64_t c) { return g[at] * (x[at] - mean[c]); });
  });
  for (int64_t c = 0; c < channels; c++) {
    double sumG = 0, sumGx = 0;
    for (int64_t i = 0; i < chunks; i++) {
      sumG += static_cast<double>(partial[i * 2 * channels + c]);
      sumGx += static_cast<double>(partial[(i * 2 + 1) * channels + c]);
    }
    sumGx *= static_cast<double>(inverse[c]);
    dBeta[c] = static_cast<float>(sumG);
    dGamma[c] = static_cast<float>(sumGx);
    const double factor = static_cast<double>(gamma[c]) * static_cast<double>(inverse[c]);
    const double n = static_cast<double>(most(1, rows));
    fromG[c] = static_cast<float>(factor);
    fromX[c] = static_cast<float>(-factor * sumGx / n * static_cast<double>(inverse[c]));
    constant[c] = static_cast<float>(-factor * sumG / n);
  }
  parallelChunks(call, rows, chunk, [&](int64_t from, int64_t to) {
    for (int64_t r = from; r < to; r++)
      for (int64_t c = 0; c < channels; c++) {
        const int64_t at = r * channels + c;
        dx[at] = fromG[c] * g[at] + (x[at] - mean[c]) * fromX[c] + constant[c];
      }
  });
}

}  // namespace stepsize::STEPSIZE_ISA
