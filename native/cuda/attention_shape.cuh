// What the attention kernels share: where the rows of a head are, which of them a block has, and the weights of pairs.
#pragma once

#include "../approximations.h"
#include "tensor_core.cuh"

namespace stepsize::cuda {

// The shape of Q, K, V and O. Heads are counted over the whole batch.
struct AttentionShape {
  int length, heads, size;
  __host__ __device__ unsigned tiles(int rows) const { return static_cast<unsigned>((length + rows - 1) / rows); }
  // The distance between the rows of a head, which are its positions, and the offset of a row from the first one.
  __device__ int stride() const { return heads * size; }
  __device__ int64_t row(int at) const { return static_cast<int64_t>(at) * stride(); }
  // The offset of the first row of a head. It divides: kernels compute it once per block, outside of their loops.
  __device__ int64_t start(int head) const {
    return static_cast<int64_t>(head / heads) * length * stride() + head % heads * size;
  }
};

// The head and the first position of a block's tile; there is one block per head and tile. The block of a head with the
// most work starts first, so that the last blocks to run are short.
struct BlockPlace {
  int head, first;

  // Late queries see many keys, and early keys are seen by many queries.
  __device__ static BlockPlace ofQueries(const AttentionShape& s, int rows) {
    const unsigned tiles = s.tiles(rows);
    return {static_cast<int>(blockIdx.x / tiles), static_cast<int>(tiles - 1 - blockIdx.x % tiles) * rows};
  }
  __device__ static BlockPlace ofKeys(const AttentionShape& s, int rows) {
    const unsigned tiles = s.tiles(rows);
    return {static_cast<int>(blockIdx.x / tiles), static_cast<int>(blockIdx.x % tiles) * rows};
  }
};

// What the backward pass needs of a query: the shift of its weights (see weightOf), the inverse of the sum of the
// weights, and δ. cpu/kernels/attention.h says why the largest score and the sum are separate numbers. One access moves
// all.
struct alignas(16) QueryNumbers {
  float shift, inverseSum, delta, unused;
};

// The tensors of the backward pass. The numbers of queries are [heads of the batch, length].
template <class T>
struct AttentionGradientTensors {
  const T *q, *k, *v, *g;
  const QueryNumbers* numbers;
  T *dQ, *dK, *dV;
};

// The weights exp(score − largest) of a query, for scores = products·scale, as powers of two: one multiply-add and one
// instruction.
//
// `shift` is the largest score times log2(e). Rounding makes it wrong by up to 2^-22 of itself, which multiplies a
// weight by up to 1.3 if scores are 10⁶. But the factor is the same for all weights of a query and for their sum, so it
// cancels, and the backward pass gets the same factor because it computes the shift from the stored largest score.
// The other rounding errors, of the multiply-add and of scale2, are relative to the exponent, the distance from the
// largest score. The weights and their sum are in float32's range for scores of up to 4·10⁸.
__device__ __forceinline__ float weightOf(float product, float scale2, float shift) {
  return powerOfTwo(fmaf(product, scale2, -shift));
}

}  // namespace stepsize::cuda
