// Shapes and positions that the attention kernels share: where the rows of a head are, and which of them a block has.
#pragma once

#include "platform.cuh"

namespace stepsize::cuda {

// The shape of Q, K, V and O. Heads are counted over the whole batch.
struct AttentionShape {
  int length, heads, size;
  __host__ __device__ unsigned tiles(int rows) const { return static_cast<unsigned>((length + rows - 1) / rows); }
  // The offset of position `at` of a head.
  __device__ int64_t row(int64_t head, int at) const {
    return ((head / heads * length + at) * heads + head % heads) * size;
  }
};

// The head and the first position of a block's tile; there is one block per head and tile. The block of a head with the
// most work starts first, so that the last blocks to run are short.
struct BlockPlace {
  int64_t head;
  int first;

  // Late queries see many keys, and early keys are seen by many queries.
  __device__ static BlockPlace ofQueries(const AttentionShape& s, int rows) {
    return {blockIdx.x / s.tiles(rows), static_cast<int>(s.tiles(rows) - 1 - blockIdx.x % s.tiles(rows)) * rows};
  }
  __device__ static BlockPlace ofKeys(const AttentionShape& s, int rows) {
    return {blockIdx.x / s.tiles(rows), static_cast<int>(blockIdx.x % s.tiles(rows)) * rows};
  }
};

// The statistics of a query: its largest score, the inverse of Σ exp(score − largest), and δ. cpu/kernels/attention.h
// says why the maximum and the sum are separate numbers.
struct QueryNumbers {
  float largest, inverseSum, delta;
};

// The tensors of the backward pass.
template <class T>
struct AttentionGradientTensors {
  const T *q, *k, *v, *g;
  const float *maxima, *inverseSums, *delta;
  T *dQ, *dK, *dV;

  // The statistics of query `at`, counted over all heads.
  __device__ QueryNumbers ofQuery(int64_t at) const { return {maxima[at], inverseSums[at], delta[at]}; }
};

// The probability of a pair of positions and the gradient of its score, from the products Q·K and g·V.
struct PairOf {
  float p, dS;
  __device__ PairOf(bool visible, float score, float product, const QueryNumbers& query, float scale)
      : p(visible ? expf(fmaf(score, scale, -query.largest)) * query.inverseSum : 0.0f),
        dS(visible ? p * (product - query.delta) * scale : 0.0f) {}
};

}  // namespace stepsize::cuda
