// Causal attention with a running softmax, O = softmax(Q·Kᵀ·scale)·V, and its gradient; cpu/kernels/attention.h has the
// formulas. Everything is computed in float32. Most bfloat16 tensors use attention_tensor_core.cuh instead.
//
// A block takes 32 queries of a head. Keys and values pass through shared memory in tiles of 32. The backward pass has
// two kernels, one by queries for dQ and one by keys for dK and dV, so that one thread owns each sum and adds in one
// order.
//
// A pair of positions takes 4·size flops per head forward and 14·size backward. In Q·K, five 16-byte reads of shared
// memory serve 16 multiply-adds of a thread. A block reads its own tile from memory once, and the other tiles from the
// L2 cache.
#pragma once

#include "attention_shape.cuh"
#include "block_reduce.cuh"
#include "grid_loops.cuh"

namespace stepsize::cuda {

constexpr int kAttentionTile = 32;
constexpr int kAttentionThreadsX = 32;  // over keys, or over the numbers of a head
constexpr int kAttentionThreadsY = 8;   // over queries
// Blocks per multiprocessor, by the size of a head over 32. If more are requested, ptxas spills the sums.
template <int Chunks>
constexpr int kAttentionBlocks = Chunks > 4 ? 1 : 2;
// The kernel of dK and dV has twice as many sums.
template <int Chunks>
constexpr int kAttentionKeyBlocks = Chunks > 2 ? 1 : 2;
constexpr int kAttentionRows = kAttentionTile / kAttentionThreadsY;
// Whether the two tensors that a backward kernel streams use one tile of shared memory, one after the other. This costs
// two or three more barriers per tile. Four tiles for heads of 256 numbers are 130 KiB, but a block has at most 99 KiB
// on compute capability 8.6 and 8.9.
template <int Chunks>
constexpr bool kSharesTile = Chunks > 4;
template <int Chunks>
constexpr int kGradientTiles = kSharesTile<Chunks> ? 3 : 4;

// The r-th row of a tile that this thread's warp computes: rows y, y + 8, …
__device__ __forceinline__ int rowOfThread(int r) { return r * kAttentionThreadsY + static_cast<int>(threadIdx.y); }

// A tile of a head's rows in shared memory. Rows are padded with zeros to whole groups of four numbers. The distance
// between rows is one group more, so that it is no power of two and groups below each other lie in different banks.
struct Tile {
  float* data;
  int size;

  __host__ __device__ static int groups(int size) { return (size + 3) / 4; }
  __host__ __device__ static size_t floats(int size) {
    return static_cast<size_t>(kAttentionTile) * 4 * static_cast<size_t>(groups(size) + 1);
  }
  __device__ float* row(int i) const { return data + i * 4 * (groups(size) + 1); }
  __device__ float4 four(int i, int group) const { return reinterpret_cast<const float4*>(row(i))[group]; }

  // Loads rows first … first + 31 of a head; rows beyond the sequence are zero. Threads take groups in order, row by
  // row.
  template <class T>
  __device__ void load(const T* head, const AttentionShape& s, int first) const {
    const bool aligned = size % 4 == 0 && reinterpret_cast<uintptr_t>(head) % sizeof(Four<T>) == 0;
    const int count = groups(size), thread = static_cast<int>(threadIdx.y * kAttentionThreadsX + threadIdx.x);
    constexpr int kThreads = kAttentionThreadsX * kAttentionThreadsY;
    const int rows = kThreads / count, groupsMore = kThreads % count;
    int i = thread / count, group = thread % count;
    while (i < kAttentionTile) {
      const int d = 4 * group;
      float values[4] = {};
      if (first + i < s.length) loadGroup(head + s.row(first + i) + d, aligned, min(4, size - d), values);
      *reinterpret_cast<float4*>(row(i) + d) = make_float4(values[0], values[1], values[2], values[3]);
      i += rows;
      group += groupsMore;
      if (group >= count) {
        group -= count;
        i++;
      }
    }
  }
  // Replaces a tile that the block has finished with. All threads must call this.
  template <class T>
  __device__ void replace(const T* head, const AttentionShape& s, int first) const {
    __syncthreads();
    load(head, s, first);
    __syncthreads();
  }
};

// One number for each of the warp's rows of a tile.
struct RowNumbers {
  float of[kAttentionRows];
};

// Dot products of the warp's rows of `tile` with a row of `other`. Each is kept in four sums, for shorter dependency
// chains and less rounding error.
__device__ __forceinline__ RowNumbers dotRows(const Tile& tile, const Tile& other, int otherRow) {
  float4 sums[kAttentionRows] = {};
  for (int group = 0; group < Tile::groups(tile.size); group++) {
    const float4 b = other.four(otherRow, group);
#pragma unroll
    for (int r = 0; r < kAttentionRows; r++) {
      const float4 a = tile.four(rowOfThread(r), group);
      sums[r].x = fmaf(a.x, b.x, sums[r].x);
      sums[r].y = fmaf(a.y, b.y, sums[r].y);
      sums[r].z = fmaf(a.z, b.z, sums[r].z);
      sums[r].w = fmaf(a.w, b.w, sums[r].w);
    }
  }
  RowNumbers dots;
#pragma unroll
  for (int r = 0; r < kAttentionRows; r++) dots.of[r] = (sums[r].x + sums[r].y) + (sums[r].z + sums[r].w);
  return dots;
}

// The numbers of the warp's result rows that a lane keeps: lane, lane + 32, …
template <int Chunks>
struct RowSums {
  float value[kAttentionRows][Chunks] = {};

  __device__ void scale(int r, float factor) {
#pragma unroll
    for (int c = 0; c < Chunks; c++) value[r][c] *= factor;
  }
  // Adds Σ_j weight_j·row_j over the rows of a tile; lane j has the weights of row j.
  __device__ void add(const RowNumbers& weights, const Tile& tile) {
    const int lane = static_cast<int>(threadIdx.x);
#pragma unroll 4
    for (int j = 0; j < kAttentionTile; j++) {
      float weight[kAttentionRows];
#pragma unroll
      for (int r = 0; r < kAttentionRows; r++) weight[r] = __shfl_sync(kWholeWarp, weights.of[r], j);
#pragma unroll
      for (int c = 0; c < Chunks; c++) {
        const int d = c * kAttentionThreadsX + lane;
        if (d >= tile.size) continue;
        const float x = tile.row(j)[d];
#pragma unroll
        for (int r = 0; r < kAttentionRows; r++) value[r][c] = fmaf(weight[r], x, value[r][c]);
      }
    }
  }
  template <class T>
  __device__ void write(int r, T* row, int size, float factor) const {
#pragma unroll
    for (int c = 0; c < Chunks; c++) {
      const int d = c * kAttentionThreadsX + static_cast<int>(threadIdx.x);
      if (d < size) row[d] = castElement<T>(value[r][c] * factor);
    }
  }
};

// O of 32 queries. Thread (x, y) computes the scores of key x for the queries y, y + 8, …. A warp has whole rows of
// scores, so the softmax needs only shuffles. `Chunks` is the size of a head over 32, rounded up.
template <int Chunks, class T>
__global__ void __launch_bounds__(kAttentionThreadsX* kAttentionThreadsY, kAttentionBlocks<Chunks>)
    attentionKernel(const T* q, const T* k, const T* v, T* out, float* maxima, float* inverseSums, AttentionShape s,
                    float scale) {
  STEPSIZE_DYNAMIC_SHARED(float, shared);
  const size_t floats = Tile::floats(s.size);
  const Tile queries{shared, s.size}, keys{shared + floats, s.size}, values{shared + 2 * floats, s.size};
  const BlockPlace place = BlockPlace::ofQueries(s, kAttentionTile);
  const int first = place.first;
  const int64_t start = s.start(place.head), firstNumber = static_cast<int64_t>(place.head) * s.length + first;
  queries.load(q + start, s, first);
  RowSums<Chunks> sums;
  float largest[kAttentionRows], total[kAttentionRows];
#pragma unroll
  for (int r = 0; r < kAttentionRows; r++) {
    largest[r] = -INFINITY;
    total[r] = 0;
  }
  const int lane = static_cast<int>(threadIdx.x);
  const float scale2 = scale * kLog2E;
  for (int key0 = 0; key0 <= first; key0 += kAttentionTile) {
    __syncthreads();
    keys.load(k + start, s, key0);
    values.load(v + start, s, key0);
    __syncthreads();
    RowNumbers p = dotRows(queries, keys, lane);
#pragma unroll
    for (int r = 0; r < kAttentionRows; r++) {
      const bool visible = key0 + lane <= first + rowOfThread(r);
      const float score = visible ? p.of[r] * scale : -INFINITY;
      const float before = largest[r] * kLog2E;
      largest[r] = fmaxf(largest[r], warpMax(score));
      const float shift = largest[r] * kLog2E;
      // fmaxf ignores a NaN, but the exponential passes it on.
      p.of[r] = visible ? weightOf(p.of[r], scale2, shift) : 0.0f;
      const float fading = powerOfTwo(before - shift);
      total[r] = total[r] * fading + warpSum(p.of[r]);
      sums.scale(r, fading);
    }
    sums.add(p, values);
  }
#pragma unroll
  for (int r = 0; r < kAttentionRows; r++) {
    const int row = rowOfThread(r);
    if (first + row >= s.length) continue;
    const float inverse = 1.0f / total[r];
    if (lane == 0) {
      maxima[firstNumber + row] = largest[r];
      inverseSums[firstNumber + row] = inverse;
    }
    sums.write(r, out + start + s.row(first + row), s.size, inverse);
  }
}

// The numbers of queries for the backward pass, with δ_i = Σ_d g_id·O_id. A warp takes one row at a time.
template <class T>
__global__ void __launch_bounds__(kAttentionThreadsX* kAttentionThreadsY)
    attentionNumbersKernel(const T* out, const T* g, const float* maxima, const float* inverseSums,
                           QueryNumbers* numbers, int64_t rows, AttentionShape s) {
  const bool aligned = s.size % 4 == 0 && isAligned16(out) && isAligned16(g);
  const int64_t step = static_cast<int64_t>(gridDim.x) * kAttentionThreadsY;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kAttentionThreadsY + threadIdx.y;
  if (first >= rows) return;
  // Rows are taken in the order of memory. The place of a row's numbers is updated from row to row, because a division
  // per row would take as long as its memory accesses.
  int head = static_cast<int>(first % s.heads), position = static_cast<int>(first / s.heads % s.length);
  int64_t sequence = first / s.heads / s.length;
  const int headsMore = static_cast<int>(step % s.heads), positionsMore = static_cast<int>(step / s.heads % s.length);
  const int64_t sequencesMore = step / s.heads / s.length;
  for (int64_t i = first; i < rows; i += step) {
    const int64_t at = i * s.size, number = (sequence * s.heads + head) * s.length + position;
    head += headsMore;
    position += positionsMore;
    sequence += sequencesMore;
    if (head >= s.heads) {
      head -= s.heads;
      position++;
    }
    if (position >= s.length) {
      position -= s.length;
      sequence++;
    }
    float sum = 0;
    for (int d = 4 * static_cast<int>(threadIdx.x); d < s.size; d += 4 * kAttentionThreadsX) {
      const int count = min(4, s.size - d);
      float values[4] = {}, gradients[4] = {};
      loadGroup(out + at + d, aligned, count, values);
      loadGroup(g + at + d, aligned, count, gradients);
#pragma unroll
      for (int e = 0; e < 4; e++) sum = fmaf(values[e], gradients[e], sum);
    }
    sum = warpSum(sum);
    if (threadIdx.x == 0) numbers[number] = {maxima[number] * kLog2E, inverseSums[number], sum, 0};
  }
}

// dQ of 32 queries. Thread (x, y) has key x for the queries y, y + 8, …
template <int Chunks, class T>
__global__ void __launch_bounds__(kAttentionThreadsX* kAttentionThreadsY, kAttentionBlocks<Chunks>)
    attentionQueryGradientKernel(AttentionGradientTensors<T> t, AttentionShape s, float scale) {
  STEPSIZE_DYNAMIC_SHARED(float, shared);
  const size_t floats = Tile::floats(s.size);
  const Tile queries{shared, s.size}, gradients{shared + floats, s.size}, keys{shared + 2 * floats, s.size},
      values{shared + (kGradientTiles<Chunks> - 1) * floats, s.size};
  const BlockPlace place = BlockPlace::ofQueries(s, kAttentionTile);
  const int first = place.first, lane = static_cast<int>(threadIdx.x);
  const int64_t start = s.start(place.head), firstNumber = static_cast<int64_t>(place.head) * s.length;
  queries.load(t.q + start, s, first);
  gradients.load(t.g + start, s, first);
  const float scale2 = scale * kLog2E;
  float shift[kAttentionRows], delta[kAttentionRows];
#pragma unroll
  for (int r = 0; r < kAttentionRows; r++) {
    const QueryNumbers query = t.numbers[firstNumber + min(first + rowOfThread(r), s.length - 1)];
    shift[r] = query.shift;
    delta[r] = query.delta;
  }
  RowSums<Chunks> sums;
  for (int key0 = 0; key0 <= first; key0 += kAttentionTile) {
    __syncthreads();
    values.load(t.v + start, s, key0);
    if constexpr (!kSharesTile<Chunks>) keys.load(t.k + start, s, key0);
    __syncthreads();
    RowNumbers dS = dotRows(gradients, values, lane);
    if constexpr (kSharesTile<Chunks>) keys.replace(t.k + start, s, key0);
    const RowNumbers scores = dotRows(queries, keys, lane);
#pragma unroll
    for (int r = 0; r < kAttentionRows; r++) {
      // Rows beyond the sequence are not stored. The factors that are the same for all keys are multiplied at the end.
      const bool visible = key0 + lane <= first + rowOfThread(r);
      dS.of[r] = visible ? weightOf(scores.of[r], scale2, shift[r]) * (dS.of[r] - delta[r]) : 0.0f;
    }
    sums.add(dS, keys);
  }
#pragma unroll
  for (int r = 0; r < kAttentionRows; r++) {
    const int row = rowOfThread(r);
    if (first + row >= s.length) continue;
    const float factor = t.numbers[firstNumber + first + row].inverseSum * scale;
    sums.write(r, t.dQ + start + s.row(first + row), s.size, factor);
  }
}

// dK and dV of 32 keys. Thread (x, y) has query x for the keys y, y + 8, …
template <int Chunks, class T>
__global__ void __launch_bounds__(kAttentionThreadsX* kAttentionThreadsY, kAttentionKeyBlocks<Chunks>)
    attentionKeyGradientKernel(AttentionGradientTensors<T> t, AttentionShape s, float scale) {
  STEPSIZE_DYNAMIC_SHARED(float, shared);
  const size_t floats = Tile::floats(s.size);
  const Tile keys{shared, s.size}, values{shared + floats, s.size}, queries{shared + 2 * floats, s.size},
      gradients{shared + (kGradientTiles<Chunks> - 1) * floats, s.size};
  const BlockPlace place = BlockPlace::ofKeys(s, kAttentionTile);
  const int first = place.first, lane = static_cast<int>(threadIdx.x);
  const int64_t start = s.start(place.head), firstNumber = static_cast<int64_t>(place.head) * s.length;
  keys.load(t.k + start, s, first);
  values.load(t.v + start, s, first);
  const float scale2 = scale * kLog2E;
  RowSums<Chunks> sumsK, sumsV;
  for (int query0 = first; query0 < s.length; query0 += kAttentionTile) {
    __syncthreads();
    queries.load(t.q + start, s, query0);
    if constexpr (!kSharesTile<Chunks>) gradients.load(t.g + start, s, query0);
    __syncthreads();
    const int query = query0 + lane;
    RowNumbers p = dotRows(keys, queries, lane);
    if constexpr (kSharesTile<Chunks>) gradients.replace(t.g + start, s, query0);
    RowNumbers dS = dotRows(values, gradients, lane);
    const QueryNumbers numbers = t.numbers[firstNumber + min(query, s.length - 1)];
#pragma unroll
    for (int r = 0; r < kAttentionRows; r++) {
      const bool visible = query < s.length && first + rowOfThread(r) <= query;
      p.of[r] = visible ? weightOf(p.of[r], scale2, numbers.shift) * numbers.inverseSum : 0.0f;
      dS.of[r] = visible ? p.of[r] * (dS.of[r] - numbers.delta) : 0.0f;
    }
    sumsV.add(p, gradients);
    if constexpr (kSharesTile<Chunks>) queries.replace(t.q + start, s, query0);
    sumsK.add(dS, queries);
  }
#pragma unroll
  for (int r = 0; r < kAttentionRows; r++) {
    const int row = rowOfThread(r);
    if (first + row >= s.length) continue;
    sumsK.write(r, t.dK + start + s.row(first + row), s.size, scale);
    sumsV.write(r, t.dV + start + s.row(first + row), s.size, 1.0f);
  }
}

}  // namespace stepsize::cuda
