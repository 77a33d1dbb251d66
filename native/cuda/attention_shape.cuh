// What the kernels of attention share: where a head's rows lie, and which of them a block has.
#pragma once

#include "platform.cuh"

namespace stepsize::cuda {

// Heads are counted through the batch.
struct AttentionShape {
  int length, heads, size;
  __host__ __device__ unsigned tiles(int rows) const { return static_cast<unsigned>((length + rows - 1) / rows); }
  // Where position `at` of a head begins.
  __device__ int64_t row(int64_t head, int at) const {
    return ((head / heads * length + at) * heads + head % heads) * size;
  }
};

// A block per head and tile of so many of its positions: the head it works on, and the first position of its tile. Of a
// head's blocks the one with most to do begins first, so that the last ones to end are short.
struct BlockPlace {
  int64_t head;
  int first;

  // Late queries see many keys, early keys are seen by many queries.
  __device__ static BlockPlace ofQueries(const AttentionShape& s, int rows) {
    return {blockIdx.x / s.tiles(rows), static_cast<int>(s.tiles(rows) - 1 - blockIdx.x % s.tiles(rows)) * rows};
  }
  __device__ static BlockPlace ofKeys(const AttentionShape& s, int rows) {
    return {blockIdx.x / s.tiles(rows), static_cast<int>(blockIdx.x % s.tiles(rows)) * rows};
  }
};

// Of a query: its largest score, the inverse of Σ exp(score − largest), and δ. The maximum and the sum are kept apart,
// as cpu/kernels/attention.h says.
struct QueryNumbers {
  float largest, inverseSum, delta;
};

template <class T>
struct AttentionGradientTensors {
  const T *q, *k, *v, *g;
  const float *maxima, *inverseSums, *delta;
  T *dQ, *dK, *dV;

  // at: the query, counted through all heads.
  __device__ QueryNumbers ofQuery(int64_t at) const { return {maxima[at], inverseSums[at], delta[at]}; }
};

// The probability and the gradient of the score of a pair, from Q·K and g·V.
struct PairOf {
  float p, dS;
  __device__ PairOf(bool visible, float score, float product, const QueryNumbers& query, float scale)
      : p(visible ? expf(fmaf(score, scale, -query.largest)) * query.inverseSum : 0.0f),
        dS(visible ? p * (product - query.delta) * scale : 0.0f) {}
};

}  // namespace stepsize::cuda
