// Normalisation of every row, that is, over the last axis. LayerNorm (Ba, Kiros, Hinton 2016): y = (x − mean)·r·γ + β
// with r = 1/√(variance + ε). RMSNorm (Zhang, Sennrich 2019): y = x·r·γ with r = 1/√(mean of x² + ε). γ and β are
// optional; OLMo's LayerNorm has neither.
//
// A row stays in the L1 cache during the passes over it, so memory reads x once and writes y once.
#pragma once

#include "../../operations_attributes.h"
#include "normalization.h"
#include "reduce.h"

namespace stepsize::STEPSIZE_ISA {

// A row without columns gets defined statistics too, not what was in the memory before.
template <bool Centered>
void normalizeRows(const Invocation& call) {
  const bool affine = call.inputs > 1;
  const float* gamma = affine ? call.input(1).floats() : nullptr;
  const float* beta = affine && Centered ? call.input(2).floats() : nullptr;
  float* means = Centered ? call.output(1).floats() : nullptr;
  float* inverses = call.output(Centered ? 2 : 1).floats();
  const double epsilon = call.attributes[attribute::layerNorm::epsilon];
  const Rows shape(call.input(0));
  const int64_t n = shape.channels;
  parallelChunks(call, shape.rows, shape.chunk(), [&](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++) {
      const float* x = call.input(0).floats() + row * n;
      float* y = call.output(0).floats() + row * n;
      float mean = 0;
      if constexpr (Centered) {
        mean = sumRow(
            n, [&](int64_t i) { return load(x + i); }, [&](int64_t i) { return x[i]; });
        mean = n > 0 ? mean / static_cast<float>(n) : 0;
        means[row] = mean;
      }
      // Subtracting the mean before squaring avoids cancellation if the mean is far from zero.
      const Vec meanVector = broadcast(mean);
      const float squares = sumRow(
          n,
          [&](int64_t i) {
            const Vec d = load(x + i) - meanVector;
            return d * d;
          },
          [&](int64_t i) { return (x[i] - mean) * (x[i] - mean); });
      const double variance = n > 0 ? static_cast<double>(squares) / static_cast<double>(n) : 0;
      const auto inverse = static_cast<float>(1 / __builtin_sqrt(variance + epsilon));
      inverses[row] = inverse;
      for (int64_t i = 0; i < n; i++) {
        const float normalized = (x[i] - mean) * inverse;
        y[i] = affine ? normalized * gamma[i] + (Centered ? beta[i] : 0) : normalized;
      }
    }
  });
}

// With x̂ the normalised row, g the incoming gradient and h = g·γ:
//   dx = r·(h − mean(h) − x̂·mean(h·x̂)),  dγ = Σ g·x̂,  dβ = Σ g
// RMSNorm has no mean(h) in dx and no dβ.
template <bool Centered>
void normalizeRowsGradient(const Invocation& call) {
  const int gammaAt = Centered ? 4 : 3;
  const bool affine = call.inputs > gammaAt;
  const float* gamma = affine ? call.input(gammaAt).floats() : nullptr;
  const float* means = Centered ? call.input(2).floats() : nullptr;
  const float* inverses = call.input(Centered ? 3 : 2).floats();
  const Rows shape(call.input(0));
  const int64_t n = shape.channels, rows = shape.rows, chunk = shape.chunk(), chunks = shape.chunks();
  // For each chunk: the sums for γ and β, and space for h and x̂ of one row.
  float* partial = static_cast<float*>(call.workspace(most(1, chunks) * 4 * n * 4));
  parallelFor(call, chunks, [&](int64_t task) {
    float* dGamma = partial + task * 4 * n;
    float* dBeta = dGamma + n;
    float* h = dBeta + n;
    float* normalized = h + n;
    zeroFloats(dGamma, 2 * n);
    for (int64_t row = task * chunk; row < least(rows, (task + 1) * chunk); row++) {
      const float* x = call.input(0).floats() + row * n;
      const float* g = call.input(1).floats() + row * n;
      float* dx = call.output(0).floats() + row * n;
      const float mean = Centered ? means[row] : 0, inverse = inverses[row];
      for (int64_t i = 0; i < n; i++) {
        normalized[i] = (x[i] - mean) * inverse;
        h[i] = affine ? g[i] * gamma[i] : g[i];
      }
      if (affine)
        for (int64_t i = 0; i < n; i++) {
          dGamma[i] += g[i] * normalized[i];
          dBeta[i] += g[i];
        }
      const float along = sumRow(
                              n, [&](int64_t i) { return load(h + i) * load(normalized + i); },
                              [&](int64_t i) { return h[i] * normalized[i]; }) /
                          static_cast<float>(n);
      const float shared = Centered ? sumRow(
                                          n, [&](int64_t i) { return load(h + i); }, [&](int64_t i) { return h[i]; }) /
                                          static_cast<float>(n)
                                    : 0;
      for (int64_t i = 0; i < n; i++) dx[i] = inverse * (h[i] - shared - normalized[i] * along);
    }
  });
  if (!affine) return;
  for (int output = 1; output <= (Centered ? 2 : 1); output++)
    for (int64_t i = 0; i < n; i++) {
      double sum = 0;
      for (int64_t task = 0; task < chunks; task++)
        sum += static_cast<double>(partial[task * 4 * n + (output - 1) * n + i]);
      call.output(output).floats()[i] = static_cast<float>(sum);
    }
}

inline void layerNorm(const Invocation& call) { normalizeRows<true>(call); }
inline void rmsNorm(const Invocation& call) { normalizeRows<false>(call); }
inline void layerNormGradient(const Invocation& call) { normalizeRowsGradient<true>(call); }
inline void rmsNormGradient(const Invocation& call) { normalizeRowsGradient<false>(call); }

}  // namespace stepsize::STEPSIZE_ISA
