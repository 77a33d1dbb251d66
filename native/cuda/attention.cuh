// Causal attention with the running softmax; formulas in cpu/kernels/attention.h. Computed in float32 throughout: a
// block takes 32 queries of a head, and the keys come by in tiles of 32 through shared memory. The backward pass is two
// kernels, by queries for dQ and by keys for dK and dV, so that every sum has one owner and one order.
//
// A first version, without tensor cores: each product of a tile is a dot product per thread.
#pragma once

#include "../element_types.h"
#include "block_reduce.cuh"

namespace stepsize::cuda {

constexpr int kAttentionTile = 32;
constexpr int kAttentionThreadsX = 32;  // over keys, or over the numbers of a head
constexpr int kAttentionThreadsY = 8;   // over queries
constexpr int kAttentionBlocks = 2;     // on a multiprocessor at once; aiming at more, ptxas spills the sums
constexpr int kAttentionRows = kAttentionTile / kAttentionThreadsY;

// A block per head, counted through the batch, and tile of its positions.
struct AttentionShape {
  int length, heads, size;
  __host__ __device__ unsigned tiles() const {
    return static_cast<unsigned>((length + kAttentionTile - 1) / kAttentionTile);
  }
  // Where position `at` of a head counted through the batch begins.
  __device__ int64_t row(int64_t head, int at) const {
    return ((head / heads * length + at) * heads + head % heads) * size;
  }
};

// The head a block works on, counted through the batch, and the first position of the tile that stays.
struct BlockPlace {
  int64_t head;
  int first;
  __device__ explicit BlockPlace(const AttentionShape& s)
      : head(blockIdx.x / s.tiles()), first(static_cast<int>(blockIdx.x % s.tiles()) * kAttentionTile) {}
};

// The rows of a tile that this thread's warp has: y, y + 8, …
__device__ __forceinline__ int ownRow(int r) { return r * kAttentionThreadsY + static_cast<int>(threadIdx.y); }

// A tile of a head's rows in shared memory, one float apart from a power of two so that columns have banks of their
// own.
struct Tile {
  float* data;
  int size;

  __device__ float* row(int i) const { return data + i * (size + 1); }
  __device__ static size_t floats(int size) { return static_cast<size_t>(kAttentionTile) * (size + 1); }

  // Rows first … first + 31; zeros beyond the sequence.
  template <class T>
  __device__ void load(const T* x, const AttentionShape& s, int64_t head, int first) const {
    for (int i = static_cast<int>(threadIdx.y); i < kAttentionTile; i += kAttentionThreadsY)
      for (int d = static_cast<int>(threadIdx.x); d < size; d += kAttentionThreadsX)
        row(i)[d] = first + i < s.length ? toFloat(x[s.row(head, first + i) + d]) : 0.0f;
  }
};

// In four sums: shorter chains, and fewer digits lost.
__device__ __forceinline__ float dotRows(const float* a, const float* b, int size) {
  float sums[4] = {};
  int d = 0;
  for (; d + 4 <= size; d += 4)
#pragma unroll
    for (int i = 0; i < 4; i++) sums[i] = fmaf(a[d + i], b[d + i], sums[i]);
  for (; d < size; d++) sums[0] = fmaf(a[d], b[d], sums[0]);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// The numbers of one row of a result that a lane keeps: lane, lane + 32, …
template <int Chunks>
struct RowSums {
  float value[Chunks] = {};

  __device__ void scale(float factor) {
#pragma unroll
    for (int c = 0; c < Chunks; c++) value[c] *= factor;
  }
  // Adds Σ_j weight_j·row_j over a tile's rows; the weight of row j is lane j's.
  __device__ void add(float weight, const Tile& tile) {
    const int lane = static_cast<int>(threadIdx.x);
#pragma unroll 4
    for (int j = 0; j < kAttentionTile; j++) {
      const float own = __shfl_sync(kWholeWarp, weight, j);
#pragma unroll
      for (int c = 0; c < Chunks; c++) {
        const int d = c * kAttentionThreadsX + lane;
        if (d < tile.size) value[c] = fmaf(own, tile.row(j)[d], value[c]);
      }
    }
  }
  template <class T>
  __device__ void write(T* row, int size, float factor) const {
#pragma unroll
    for (int c = 0; c < Chunks; c++) {
      const int d = c * kAttentionThreadsX + static_cast<int>(threadIdx.x);
      if (d < size) row[d] = castElement<T>(value[c] * factor);
    }
  }
};

// Chunks: a head's size over 32, rounded up. Thread (x, y) has the scores of key x for the queries y, y + 8, …; a warp
// is a row, so its softmax is a shuffle.
template <int Chunks, class T>
__global__ void __launch_bounds__(kAttentionThreadsX* kAttentionThreadsY, kAttentionBlocks)
    attentionKernel(const T* q, const T* k, const T* v, T* out, float* logSums, AttentionShape s, float scale) {
  STEPSIZE_DYNAMIC_SHARED(float, shared);
  const size_t floats = Tile::floats(s.size);
  const Tile queries{shared, s.size}, keys{shared + floats, s.size}, values{shared + 2 * floats, s.size};
  const BlockPlace place(s);
  const int64_t head = place.head;
  const int first = place.first;
  queries.load(q, s, head, first);
  RowSums<Chunks> sums[kAttentionRows];
  float largest[kAttentionRows], total[kAttentionRows];
#pragma unroll
  for (int r = 0; r < kAttentionRows; r++) {
    largest[r] = -INFINITY;
    total[r] = 0;
  }
  const int lane = static_cast<int>(threadIdx.x);
  for (int key0 = 0; key0 <= first; key0 += kAttentionTile) {
    __syncthreads();
    keys.load(k, s, head, key0);
    values.load(v, s, head, key0);
    __syncthreads();
#pragma unroll
    for (int r = 0; r < kAttentionRows; r++) {
      const int row = ownRow(r);
      const bool visible = key0 + lane <= first + row;
      const float score = visible ? dotRows(queries.row(row), keys.row(lane), s.size) * scale : -INFINITY;
      const float before = largest[r];
      largest[r] = fmaxf(before, warpMax(score));
      // A NaN passes the maximum by, and comes out of the exponential.
      const float p = visible ? expf(score - largest[r]) : 0.0f;
      const float fading = expf(before - largest[r]);
      total[r] = total[r] * fading + warpSum(p);
      sums[r].scale(fading);
      sums[r].add(p, values);
    }
  }
#pragma unroll
  for (int r = 0; r < kAttentionRows; r++) {
    const int row = ownRow(r);
    if (first + row >= s.length) continue;
    if (lane == 0) logSums[head * s.length + first + row] = largest[r] + logf(total[r]);
    sums[r].write(out + s.row(head, first + row), s.size, 1.0f / total[r]);
  }
}

// δ_i = Σ_d g_id·O_id: a warp per position and head.
template <class T>
__global__ void __launch_bounds__(kAttentionThreadsX* kAttentionThreadsY)
    attentionDeltaKernel(const T* out, const T* g, float* delta, int64_t rows, AttentionShape s) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kAttentionThreadsY;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kAttentionThreadsY + threadIdx.y; i < rows; i += step) {
    const int64_t at = s.row(i / s.length, static_cast<int>(i % s.length));
    float sum = 0;
    for (int d = static_cast<int>(threadIdx.x); d < s.size; d += kAttentionThreadsX)
      sum = fmaf(toFloat(out[at + d]), toFloat(g[at + d]), sum);
    sum = warpSum(sum);
    if (threadIdx.x == 0) delta[i] = sum;
  }
}

template <class T>
struct AttentionGradientTensors {
  const T *q, *k, *v, *g;
  const float *logSums, *delta;
  T *dQ, *dK, *dV;
};

// What query and key, by their places in two tiles, give: the probability and the gradient of the score.
struct PairOf {
  float p, dS;
};
__device__ __forceinline__ PairOf pairOf(const Tile& q, const Tile& k, const Tile& v, const Tile& g, int query, int key,
                                         bool visible, float logSum, float delta, float scale) {
  if (!visible) return {0.0f, 0.0f};
  const float p = expf(dotRows(q.row(query), k.row(key), q.size) * scale - logSum);
  return {p, p * (dotRows(g.row(query), v.row(key), q.size) - delta) * scale};
}

// dQ of 32 queries: thread (x, y) has key x for the queries y, y + 8, …
template <int Chunks, class T>
__global__ void __launch_bounds__(kAttentionThreadsX* kAttentionThreadsY, kAttentionBlocks)
    attentionQueryGradientKernel(AttentionGradientTensors<T> t, AttentionShape s, float scale) {
  STEPSIZE_DYNAMIC_SHARED(float, shared);
  const size_t floats = Tile::floats(s.size);
  const Tile queries{shared, s.size}, gradients{shared + floats, s.size}, keys{shared + 2 * floats, s.size},
      values{shared + 3 * floats, s.size};
  const BlockPlace place(s);
  const int64_t head = place.head;
  const int first = place.first, lane = static_cast<int>(threadIdx.x);
  queries.load(t.q, s, head, first);
  gradients.load(t.g, s, head, first);
  RowSums<Chunks> sums[kAttentionRows];
  for (int key0 = 0; key0 <= first; key0 += kAttentionTile) {
    __syncthreads();
    keys.load(t.k, s, head, key0);
    values.load(t.v, s, head, key0);
    __syncthreads();
#pragma unroll
    for (int r = 0; r < kAttentionRows; r++) {
      const int row = ownRow(r), query = first + row;
      const bool inside = query < s.length;
      const int64_t at = head * s.length + (inside ? query : 0);
      const float dS = pairOf(queries, keys, values, gradients, row, lane, inside && key0 + lane <= query,
                              t.logSums[at], t.delta[at], scale)
                           .dS;
      sums[r].add(dS, keys);
    }
  }
#pragma unroll
  for (int r = 0; r < kAttentionRows; r++) {
    const int row = ownRow(r);
    if (first + row >= s.length) continue;
    sums[r].write(t.dQ + s.row(head, first + row), s.size, 1.0f);
  }
}

// dK and dV of 32 keys: thread (x, y) has query x for the keys y, y + 8, …
template <int Chunks, class T>
__global__ void __launch_bounds__(kAttentionThreadsX* kAttentionThreadsY, kAttentionBlocks)
    attentionKeyGradientKernel(AttentionGradientTensors<T> t, AttentionShape s, float scale) {
  STEPSIZE_DYNAMIC_SHARED(float, shared);
  const size_t floats = Tile::floats(s.size);
  const Tile keys{shared, s.size}, values{shared + floats, s.size}, queries{shared + 2 * floats, s.size},
      gradients{shared + 3 * floats, s.size};
  const BlockPlace place(s);
  const int64_t head = place.head;
  const int first = place.first, lane = static_cast<int>(threadIdx.x);
  keys.load(t.k, s, head, first);
  values.load(t.v, s, head, first);
  RowSums<Chunks> sumsK[kAttentionRows], sumsV[kAttentionRows];
  for (int query0 = first; query0 < s.length; query0 += kAttentionTile) {
    __syncthreads();
    queries.load(t.q, s, head, query0);
    gradients.load(t.g, s, head, query0);
    __syncthreads();
    const int query = query0 + lane;
    const int64_t at = head * s.length + (query < s.length ? query : 0);
    const float logSum = t.logSums[at], delta = t.delta[at];
#pragma unroll
    for (int r = 0; r < kAttentionRows; r++) {
      const int row = ownRow(r), key = first + row;
      const PairOf pair =
          pairOf(queries, keys, values, gradients, lane, row, query < s.length && key <= query, logSum, delta, scale);
      sumsK[r].add(pair.dS, queries);
      sumsV[r].add(pair.p, gradients);
    }
  }
#pragma unroll
  for (int r = 0; r < kAttentionRows; r++) {
    const int row = ownRow(r);
    if (first + row >= s.length) continue;
    sumsK[r].write(t.dK + s.row(head, first + row), s.size, 1.0f);
    sumsV[r].write(t.dV + s.row(head, first + row), s.size, 1.0f);
  }
}

}  // namespace stepsize::cuda
