// Causal attention in bfloat16 on tensor cores with a running softmax; cpu/kernels/attention.h has the formulas. It
// takes heads of at most 128 numbers that consist of whole chunks of 16 bytes; attention.cuh has the others.
//
// A block takes a tile of 64 queries of a head, and each of its four warps takes 16 of them. Keys and values pass
// through two stages of shared memory in tiles of 64: while one stage is multiplied, the next is copied. Scores stay in
// registers, where the sums of one product are the operand of the next. Scores are float32; probabilities and gradients
// of scores are rounded to bfloat16 before they are multiplied, as every operand of a tensor core is. The backward pass
// has two kernels, one by queries for dQ and one by keys for dK and dV, so that one warp owns each sum and adds in one
// order.
//
// A pair of positions takes 4·size flops per head forward and 14·size backward. A block reads its own tile from memory
// once. The other tiles come from the L2 cache: 4·size bytes per query and 64 keys, and 8·size backward.
#pragma once

#include "attention_shape.cuh"
#include "tensor_core.cuh"

namespace stepsize::cuda {

constexpr int kHeadRows = 64;  // rows of a tile
constexpr int kHeadWarps = 4;
constexpr int kHeadThreads = 32 * kHeadWarps;
constexpr int kStepRows = 16;  // rows of the passing tile that are multiplied at once

// A tile of a head's rows in shared memory. `Size` is the size of the head, rounded up to 32, 64 or 128. Numbers beyond
// the head and rows beyond the sequence are zero. Chunks are permuted within a row, so that eight rows read at once lie
// in different banks.
template <int Size>
struct HeadTile {
  static constexpr int kElements = kHeadRows * Size;
  static constexpr size_t kBytes = 2 * kElements;
  BFloat16* data;

  __device__ BFloat16* chunk(int row, int column) const {
    const int turn = Size == 32 ? row >> 1 & 3 : row & 7;
    return data + row * Size + ((column / 8) ^ turn) * 8;
  }
  // Starts to copy the rows from `first` on.
  __device__ void load(const BFloat16* x, const AttentionShape& s, int64_t head, int first) const {
#pragma unroll 4
    for (int i = static_cast<int>(threadIdx.x); i < kElements / 8; i += kHeadThreads) {
      const int row = i / (Size / 8), column = i % (Size / 8) * 8;
      const bool inside = first + row < s.length && column < s.size;
      copyAsync16(chunk(row, column), inside ? x + s.row(head, first + row) + column : x, !inside);
    }
  }
};

// Two stages for tiles of two tensors that pass by together: one stage is multiplied while the other is copied.
template <int Size>
struct HeadStages {
  BFloat16* shared;

  __device__ HeadTile<Size> first(int stage) const { return {shared + stage % 2 * HeadTile<Size>::kElements}; }
  __device__ HeadTile<Size> second(int stage) const { return {shared + (2 + stage % 2) * HeadTile<Size>::kElements}; }
  __device__ void load(const BFloat16* a, const BFloat16* b, const AttentionShape& s, int64_t head, int tile) const {
    first(tile).load(a, s, head, tile * kHeadRows);
    second(tile).load(b, s, head, tile * kHeadRows);
  }
};

// A tile as an operand (tensor_core.cuh): its rows are the lines, or the depths.
template <int Size>
struct RowsAsLines {
  static constexpr bool kAlongLines = false;
  HeadTile<Size> tile;
  __device__ BFloat16* chunk(int line, int depth) const { return tile.chunk(line, depth); }
};
template <int Size>
struct RowsAsDepths {
  static constexpr bool kAlongLines = true;
  HeadTile<Size> tile;
  __device__ BFloat16* chunk(int line, int depth) const { return tile.chunk(depth, line); }
};

// The dynamic shared memory of each kernel, in bytes.
template <int Size>
constexpr size_t kForwardBytes = 5 * HeadTile<Size>::kBytes;
template <int Size>
constexpr size_t kQueryGradientBytes = 6 * HeadTile<Size>::kBytes;
template <int Size>
constexpr size_t kKeyGradientBytes = 6 * HeadTile<Size>::kBytes + 2 * kHeadRows * sizeof(QueryNumbers);

__device__ __forceinline__ int firstOfWarp() { return static_cast<int>(threadIdx.x) / 32 * kStepRows; }
// The position of a lane in a fragment of sums: the row of its first two numbers (the other two are eight rows below),
// and the column of the first one.
__device__ __forceinline__ int rowInFragment() { return static_cast<int>(threadIdx.x) % 32 / 4; }
__device__ __forceinline__ int columnInFragment() { return static_cast<int>(threadIdx.x) % 4 * 2; }

// The warp's rows of the block's own tile, as first operand. They are kept in registers if these suffice.
template <int Size>
struct OwnRows {
  static constexpr bool kHeld = Size <= 64;
  HeadTile<Size> tile;
  uint32_t held[kHeld ? Size / 16 : 1][4];

  // Call this after the copies of the tile have arrived.
  __device__ explicit OwnRows(const HeadTile<Size>& arrived) : tile(arrived) {
    if constexpr (kHeld)
#pragma unroll
      for (int d = 0; d < Size; d += 16) loadFragments<true>(RowsAsLines<Size>{tile}, firstOfWarp(), d, held[d / 16]);
  }
  // The 16 × 16 products with 16 rows of another tile.
  __device__ void multiply(const HeadTile<Size>& other, int first, float (&products)[2][4]) const {
#pragma unroll
    for (int half = 0; half < 2; half++)
#pragma unroll
      for (int e = 0; e < 4; e++) products[half][e] = 0;
#pragma unroll
    for (int d = 0; d < Size; d += 16) {
      uint32_t b[4];
      loadFragments<false>(RowsAsLines<Size>{other}, first, d, b);
      if constexpr (kHeld) {
        multiplyAdd(products[0], products[1], held[d / 16], b);
      } else {
        uint32_t a[4];
        loadFragments<true>(RowsAsLines<Size>{tile}, firstOfWarp(), d, a);
        multiplyAdd(products[0], products[1], a, b);
      }
    }
  }
};

// The sums of a warp's 16 result rows.
template <int Size>
struct HeadSums {
  float value[Size / 8][4] = {};

  // Adds weights · 16 rows of a tile.
  __device__ void add(const float (&weights)[2][4], const HeadTile<Size>& tile, int first) {
    uint32_t a[4];
    asFirstOperand(weights, a);
#pragma unroll
    for (int d = 0; d < Size; d += 16) {
      uint32_t b[4];
      loadFragments<false>(RowsAsDepths<Size>{tile}, d, first, b);
      multiplyAdd(value[d / 8], value[d / 8 + 1], a, b);
    }
  }
  __device__ void scale(const float (&factors)[2]) {
#pragma unroll
    for (int n = 0; n < Size / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) value[n][e] *= factors[e / 2];
  }
  // Writes the sums through the warp's rows of a tile that is no longer read, so that whole rows are stored to memory.
  __device__ void write(const HeadTile<Size>& tile, BFloat16* out, const AttentionShape& s, int64_t head,
                        int first) const {
    __syncwarp();
#pragma unroll
    for (int n = 0; n < Size / 8; n++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int row = firstOfWarp() + rowInFragment() + half * 8;
        reinterpret_cast<uint32_t*>(tile.chunk(row, n * 8))[columnInFragment() / 2] =
            roundedPair(value[n][2 * half], value[n][2 * half + 1]);
      }
    __syncwarp();
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll 1
    for (int i = lane; i < kStepRows * Size / 8; i += 32) {
      const int row = firstOfWarp() + i / (Size / 8), column = i % (Size / 8) * 8;
      if (first + row < s.length && column < s.size)
        *reinterpret_cast<uint4*>(out + s.row(head, first + row) + column) =
            *reinterpret_cast<const uint4*>(tile.chunk(row, column));
    }
  }
};

// Reduces over the four lanes that share a row of a fragment.
template <class Reduce>
__device__ __forceinline__ float reduceRow(float value, const Reduce& reduce) {
  value = reduce(value, __shfl_xor_sync(0xffffffffu, value, 1));
  return reduce(value, __shfl_xor_sync(0xffffffffu, value, 2));
}

// O of 64 queries, from the keys that they see.
template <int Size>
__global__ void __launch_bounds__(kHeadThreads, 2)
    attentionTensorKernel(const BFloat16* q, const BFloat16* k, const BFloat16* v, BFloat16* out, float* maxima,
                          float* inverseSums, AttentionShape s, float scale) {
  using Tile = HeadTile<Size>;
  STEPSIZE_DYNAMIC_SHARED(BFloat16, shared);
  const Tile queries{shared};
  const HeadStages<Size> keysAndValues{shared + Tile::kElements};
  const BlockPlace place = BlockPlace::ofQueries(s, kHeadRows);
  const int tiles = place.first / kHeadRows + 1;
  const auto begin = [&](int tile) {
    if (tile < tiles) keysAndValues.load(k, v, s, place.head, tile);
    commitCopies();
  };
  queries.load(q, s, place.head, place.first);
  begin(0);

  waitForCopies<0>();
  __syncthreads();
  const OwnRows<Size> own(queries);
  HeadSums<Size> sums;
  // For the lane's two rows, eight apart. The totals are the lane's share.
  float largest[2] = {-INFINITY, -INFINITY}, total[2] = {};
  const int query = place.first + firstOfWarp() + rowInFragment();
  for (int tile = 0; tile < tiles; tile++) {
    waitForCopies<0>();
    // After the barrier, the copies of all threads have arrived, and no thread reads the stage that is filled next.
    __syncthreads();
    begin(tile + 1);
    float scores[kHeadRows / kStepRows][2][4];
    float before[2], fading[2];
#pragma unroll
    for (int half = 0; half < 2; half++) before[half] = largest[half];
#pragma unroll
    for (int step = 0; step < kHeadRows / kStepRows; step++) {
      own.multiply(keysAndValues.first(tile), step * kStepRows, scores[step]);
#pragma unroll
      for (int n = 0; n < 2; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const int key = tile * kHeadRows + step * kStepRows + n * 8 + columnInFragment() + e % 2;
          const float score = key <= query + e / 2 * 8 ? scores[step][n][e] * scale : -INFINITY;
          // fmaxf ignores a NaN, but the exponential passes it on.
          largest[e / 2] = fmaxf(largest[e / 2], score);
        }
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
      largest[half] = reduceRow(largest[half], [](float a, float b) { return fmaxf(a, b); });
      fading[half] = expf(before[half] - largest[half]);
      total[half] *= fading[half];
    }
    sums.scale(fading);
#pragma unroll
    for (int step = 0; step < kHeadRows / kStepRows; step++) {
#pragma unroll
      for (int n = 0; n < 2; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const int key = tile * kHeadRows + step * kStepRows + n * 8 + columnInFragment() + e % 2;
          float& score = scores[step][n][e];
          score = key <= query + e / 2 * 8 ? expf(fmaf(score, scale, -largest[e / 2])) : 0.0f;
          total[e / 2] += score;
        }
      sums.add(scores[step], keysAndValues.second(tile), step * kStepRows);
    }
  }
  float inverse[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    total[half] = reduceRow(total[half], [](float a, float b) { return a + b; });
    inverse[half] = 1.0f / total[half];
    const int at = query + half * 8;
    if (columnInFragment() == 0 && at < s.length) {
      maxima[place.head * s.length + at] = largest[half];
      inverseSums[place.head * s.length + at] = inverse[half];
    }
  }
  sums.scale(inverse);
  sums.write(queries, out, s, place.head, place.first);
}

// dQ of 64 queries, from the keys that they see.
template <int Size>
__global__ void __launch_bounds__(kHeadThreads, 2)
    attentionQueryGradientTensorKernel(AttentionGradientTensors<BFloat16> t, AttentionShape s, float scale) {
  using Tile = HeadTile<Size>;
  STEPSIZE_DYNAMIC_SHARED(BFloat16, shared);
  const Tile queries{shared}, gradients{shared + Tile::kElements};
  const HeadStages<Size> keysAndValues{shared + 2 * Tile::kElements};
  const BlockPlace place = BlockPlace::ofQueries(s, kHeadRows);
  const int tiles = place.first / kHeadRows + 1;
  const auto begin = [&](int tile) {
    if (tile < tiles) keysAndValues.load(t.k, t.v, s, place.head, tile);
    commitCopies();
  };
  queries.load(t.q, s, place.head, place.first);
  gradients.load(t.g, s, place.head, place.first);
  begin(0);

  const int query = place.first + firstOfWarp() + rowInFragment();
  QueryNumbers ofQuery[2];
#pragma unroll
  for (int half = 0; half < 2; half++)
    ofQuery[half] = t.ofQuery(place.head * s.length + min(query + half * 8, s.length - 1));
  waitForCopies<0>();
  __syncthreads();
  const OwnRows<Size> ownQueries(queries), ownGradients(gradients);
  HeadSums<Size> sums;
  for (int tile = 0; tile < tiles; tile++) {
    waitForCopies<0>();
    __syncthreads();
    begin(tile + 1);
#pragma unroll 1
    for (int step = 0; step < kHeadRows; step += kStepRows) {
      float scores[2][4], products[2][4];
      ownQueries.multiply(keysAndValues.first(tile), step, scores);
      ownGradients.multiply(keysAndValues.second(tile), step, products);
#pragma unroll
      for (int n = 0; n < 2; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const int key = tile * kHeadRows + step + n * 8 + columnInFragment() + e % 2, own = query + e / 2 * 8;
          const bool visible = own < s.length && key <= own;
          scores[n][e] = PairOf(visible, scores[n][e], products[n][e], ofQuery[e / 2], scale).dS;
        }
      sums.add(scores, keysAndValues.first(tile), step);
    }
  }
  sums.write(queries, t.dQ, s, place.head, place.first);
}

// dK and dV of 64 keys, from the queries that see them. The scores are transposed here: keys are their rows.
template <int Size>
__global__ void __launch_bounds__(kHeadThreads, 1)
    attentionKeyGradientTensorKernel(AttentionGradientTensors<BFloat16> t, AttentionShape s, float scale) {
  using Tile = HeadTile<Size>;
  STEPSIZE_DYNAMIC_SHARED(BFloat16, shared);
  const Tile keys{shared}, values{shared + Tile::kElements};
  const HeadStages<Size> queriesAndGradients{shared + 2 * Tile::kElements};
  const auto ofQueries = [&](int stage) {
    return reinterpret_cast<QueryNumbers*>(shared + 6 * Tile::kElements) + stage % 2 * kHeadRows;
  };
  const BlockPlace place = BlockPlace::ofKeys(s, kHeadRows);
  const int firstTile = place.first / kHeadRows, tiles = static_cast<int>(s.tiles(kHeadRows));
  const auto begin = [&](int tile) {
    const int thread = static_cast<int>(threadIdx.x);
    if (tile < tiles) {
      queriesAndGradients.load(t.q, t.g, s, place.head, tile);
      if (thread < kHeadRows)
        ofQueries(tile)[thread] = t.ofQuery(place.head * s.length + min(tile * kHeadRows + thread, s.length - 1));
    }
    commitCopies();
  };
  keys.load(t.k, s, place.head, place.first);
  values.load(t.v, s, place.head, place.first);
  begin(firstTile);

  const int key = place.first + firstOfWarp() + rowInFragment();
  waitForCopies<0>();
  __syncthreads();
  const OwnRows<Size> ownKeys(keys), ownValues(values);
  HeadSums<Size> sumsK, sumsV;
  for (int tile = firstTile; tile < tiles; tile++) {
    waitForCopies<0>();
    __syncthreads();
    begin(tile + 1);
#pragma unroll 1
    for (int step = 0; step < kHeadRows; step += kStepRows) {
      float scores[2][4], products[2][4];
      ownKeys.multiply(queriesAndGradients.first(tile), step, scores);
      ownValues.multiply(queriesAndGradients.second(tile), step, products);
#pragma unroll
      for (int n = 0; n < 2; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const int column = step + n * 8 + columnInFragment() + e % 2, query = tile * kHeadRows + column;
          const bool visible = query < s.length && key + e / 2 * 8 <= query;
          const PairOf pair(visible, scores[n][e], products[n][e], ofQueries(tile)[column], scale);
          scores[n][e] = pair.p;
          products[n][e] = pair.dS;
        }
      sumsV.add(scores, queriesAndGradients.second(tile), step);
      sumsK.add(products, queriesAndGradients.first(tile), step);
    }
  }
  sumsK.write(keys, t.dK, s, place.head, place.first);
  sumsV.write(values, t.dV, s, place.head, place.first);
}

}  // namespace stepsize::cuda
