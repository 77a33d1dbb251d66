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
// Only the tile on the diagonal has keys that a query does not see. It has a loop body of its own, in which a warp
// multiplies only the steps that it needs and compares positions in one of them.
//
// A pair of positions takes 4·size flops per head forward and 14·size backward. A block reads its own tile from memory
// once. The other tiles come from the L2 cache: a tile of both tensors per 64 × 64 pairs, which is a byte per 64 flops
// of O, 96 of dQ, and 128 of dK and dV.
//
// The loops in machine code for sm_90, for a warp and a tile (16 × 64 pairs); not run on hardware:
//
//                       heads of 64 numbers              heads of 128 numbers
//                       instructions   mma   ldmatrix    instructions   mma   ldmatrix
//   O                            370    64         32             529   128         64
//   dQ                           411    96         48             593   192         96
//   dK and dV                    531   128         64             870   256        192
//
// At the peak of the tensor cores an mma takes 4 cycles of a quarter of a multiprocessor, which issues one instruction
// per cycle. An ldmatrix takes 4 cycles of the shared memory, which the four quarters share. So shared memory limits
// all loops to 50 % of the peak, dK and dV of 128 numbers to 33 %. At 50 %, an H200 (989 TFLOP/s) would read 7.7 TB/s
// from its L2 cache for O, so that the cache may be the narrowest part there. Warps of 32 rows would halve both.
#pragma once

#include <type_traits>

#include "attention_shape.cuh"
#include "tensor_core.cuh"

namespace stepsize::cuda {

constexpr int kHeadRows = 64;  // rows of a tile
constexpr int kHeadWarps = 4;
constexpr int kHeadThreads = 32 * kHeadWarps;
constexpr int kStepRows = 16;  // a warp computes results for this many rows, from this many rows at once
constexpr int kSteps = kHeadRows / kStepRows;

// Tiles of a head's rows. A kernel has several in its shared memory, one after the other, and names them by number.
// `Size` is the size of the head, rounded up to 32, 64 or 128. Numbers beyond the head and rows beyond the sequence are
// zero. Chunks of eight numbers are permuted within a row, so that eight rows read at once lie in different banks.
template <int Size>
struct HeadTile {
  static constexpr int kElements = kHeadRows * Size;
  static constexpr size_t kBytes = 2 * kElements;

  // Where a chunk of a row is in a tile.
  __device__ static int offset(int row, int chunk) {
    const int turn = Size == 32 ? row >> 1 & 3 : row & 7;
    return row * Size + (chunk ^ turn) * 8;
  }
  // Where 16 rows of a tile are in the shared memory.
  __device__ static int rows(int tile, int step) { return tile * kElements + step * kStepRows * Size; }
};

// Copies between a head in memory and tiles. A thread has one chunk of every kPassRows-th row. Its addresses differ by
// constants, which are computed once per block.
template <int Size>
class HeadCopies {
 public:
  __device__ HeadCopies(BFloat16* shared, const AttentionShape& s, int head) : stride_(s.stride()) {
    const int thread = static_cast<int>(threadIdx.x), row = thread / kChunks, chunk = thread % kChunks;
    start_ = s.start(head) + s.row(row) + chunk * 8;
    shared_ = shared + Tile::offset(row, chunk);
    rows_ = chunk * 8 < s.size ? s.length - row : 0;
  }

  // Starts to copy the rows from `first` on to a tile.
  __device__ void load(int tile, const BFloat16* x, int first) const {
    const BFloat16* from = x + start_ + static_cast<int64_t>(first) * stride_;
#pragma unroll
    for (int row = 0; row < kHeadRows; row += kPassRows)
      copyAsync16(shared_ + tile * Tile::kElements + row * Size, from + static_cast<int64_t>(row) * stride_,
                  row >= rows_ - first);
  }
  // Stores a tile as the rows from `first` on.
  __device__ void store(int tile, BFloat16* x, int first) const {
    BFloat16* to = x + start_ + static_cast<int64_t>(first) * stride_;
#pragma unroll
    for (int row = 0; row < kHeadRows; row += kPassRows)
      if (row < rows_ - first)
        *reinterpret_cast<uint4*>(to + static_cast<int64_t>(row) * stride_) =
            *reinterpret_cast<const uint4*>(shared_ + tile * Tile::kElements + row * Size);
  }

 private:
  using Tile = HeadTile<Size>;
  static constexpr int kChunks = Size / 8, kPassRows = kHeadThreads / kChunks;
  static_assert(kPassRows % 8 == 0, "the rows of a thread have the same permutation of chunks");
  int64_t start_;
  BFloat16* shared_;
  int stride_, rows_;
};

// Two stages for tiles of two tensors that are read together: one stage is multiplied while the other is copied. These
// are the numbers of the tiles, the first of which follows the block's own tiles.
template <int Tiles>
struct HeadStages {
  __device__ static int first(int stage) { return Tiles + stage % 2; }
  __device__ static int second(int stage) { return Tiles + 2 + stage % 2; }
};

// The dynamic shared memory of each kernel, in bytes.
template <int Size>
constexpr size_t kForwardBytes = 5 * HeadTile<Size>::kBytes;
template <int Size>
constexpr size_t kQueryGradientBytes = 6 * HeadTile<Size>::kBytes;
template <int Size>
constexpr size_t kKeyGradientBytes = 6 * HeadTile<Size>::kBytes + 2 * kHeadRows * sizeof(QueryNumbers);

// The step of the block's tile that this warp owns.
__device__ __forceinline__ int stepOfWarp() { return static_cast<int>(threadIdx.x) / 32; }
// The position of a lane in a fragment of sums: the row of its first two numbers (the other two are eight rows below),
// and the column of the first one.
__device__ __forceinline__ int rowInFragment() { return static_cast<int>(threadIdx.x) % 32 / 4; }
__device__ __forceinline__ int columnInFragment() { return static_cast<int>(threadIdx.x) % 4 * 2; }

// Whether the column of a number of a fragment is later than its row, or earlier.
__device__ __forceinline__ bool isLater(int n, int e) {
  return n * 8 + columnInFragment() + e % 2 > rowInFragment() + e / 2 * 8;
}
__device__ __forceinline__ bool isEarlier(int n, int e) {
  return n * 8 + columnInFragment() + e % 2 < rowInFragment() + e / 2 * 8;
}

// Loads fragments of 16 × 16 numbers of a tile, as tensor_core.cuh describes them. `rows` is HeadTile::rows, `column` a
// constant. The permutation of chunks is an exclusive or with three bits of the row, so a lane's address for a column
// is one of four, which are computed once, plus constants. Hence the loops below need hardly any computation of
// addresses.
template <int Size>
class FragmentLoader {
 public:
  __device__ explicit FragmentLoader(const BFloat16* shared) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int i = 0; i < kPlaces; i++) {
      rowsFirst_[i] = shared + (HeadTile<Size>::offset(lane % 16, lane / 16) ^ 16 * i);
      columnsFirst_[i] = shared + (HeadTile<Size>::offset(lane / 16 * 8 + lane % 8, lane / 8 % 2) ^ 16 * i);
    }
  }
  // The first operand of a product.
  __device__ void loadFirst(int rows, int column, uint32_t (&r)[4]) const {
    loadMatrices<false>(r, at(rowsFirst_, rows, column));
  }
  // The second operand if the product sums over the columns of the tile.
  __device__ void loadSecond(int rows, int column, uint32_t (&r)[4]) const {
    loadMatrices<false>(r, at(columnsFirst_, rows, column));
  }
  // The second operand if the product sums over the rows of the tile.
  __device__ void loadSecondTransposed(int rows, int column, uint32_t (&r)[4]) const {
    loadMatrices<true>(r, at(rowsFirst_, rows, column));
  }

 private:
  static constexpr int kPlaces = Size < 64 ? Size / 16 : 4;
  __device__ static const BFloat16* at(const BFloat16* const (&places)[kPlaces], int rows, int column) {
    return places[column / 16 % kPlaces] + rows + column / (16 * kPlaces) * (16 * kPlaces);
  }
  const BFloat16 *rowsFirst_[kPlaces], *columnsFirst_[kPlaces];
};

// The warp's 16 rows of a tile of the block, as first operand. They are loaded once if registers suffice to hold them.
template <int Size, bool Held = true>
class WarpRows {
 public:
  // Call this after the copies of the tile have arrived.
  __device__ WarpRows(const FragmentLoader<Size>& loader, int tile)
      : loader_(loader), rows_(HeadTile<Size>::rows(tile, stepOfWarp())) {
    if constexpr (Held)
#pragma unroll
      for (int d = 0; d < Size; d += 16) loader_.loadFirst(rows_, d, held_[d / 16]);
  }
  // The 16 × 16 products with 16 rows of another tile.
  __device__ void multiply(int rows, float (&products)[2][4]) const {
#pragma unroll
    for (int half = 0; half < 2; half++)
#pragma unroll
      for (int e = 0; e < 4; e++) products[half][e] = 0;
#pragma unroll
    for (int d = 0; d < Size; d += 16) {
      uint32_t b[4];
      loader_.loadSecond(rows, d, b);
      if constexpr (Held) {
        multiplyAdd(products[0], products[1], held_[d / 16], b);
      } else {
        uint32_t a[4];
        loader_.loadFirst(rows_, d, a);
        multiplyAdd(products[0], products[1], a, b);
      }
    }
  }

 private:
  const FragmentLoader<Size>& loader_;
  int rows_;
  uint32_t held_[Held ? Size / 16 : 1][4];
};

// The sums of a warp's 16 result rows.
template <int Size>
struct HeadSums {
  float value[Size / 8][4] = {};

  // Adds weights · 16 rows of a tile.
  __device__ void add(const FragmentLoader<Size>& loader, const float (&weights)[2][4], int rows) {
    uint32_t a[4];
    asFirstOperand(weights, a);
#pragma unroll
    for (int d = 0; d < Size; d += 16) {
      uint32_t b[4];
      loader.loadSecondTransposed(rows, d, b);
      multiplyAdd(value[d / 8], value[d / 8 + 1], a, b);
    }
  }
  __device__ void scale(const float (&factors)[2]) {
#pragma unroll
    for (int n = 0; n < Size / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) value[n][e] *= factors[e / 2];
  }
  // Writes the sums to the warp's rows of a tile, which only this warp has read.
  __device__ void write(BFloat16* shared, int tile) const {
    __syncwarp();
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = rowInFragment() + half * 8;
      BFloat16* to = shared + HeadTile<Size>::rows(tile, stepOfWarp()) + columnInFragment();
#pragma unroll
      for (int n = 0; n < Size / 8; n++)
        *reinterpret_cast<uint32_t*>(to + HeadTile<Size>::offset(row, n)) =
            roundedPair(value[n][2 * half], value[n][2 * half + 1]);
    }
  }
};

// Reduces over the four lanes that share a row of a fragment.
template <class Reduce>
__device__ __forceinline__ float reduceRow(float value, const Reduce& reduce) {
  value = reduce(value, __shfl_xor_sync(0xffffffffu, value, 1));
  return reduce(value, __shfl_xor_sync(0xffffffffu, value, 2));
}

// The softmax of the lane's two rows, eight apart, while keys arrive in tiles. The totals are the lane's share.
struct RunningSoftmax {
  float largest[2] = {-INFINITY, -INFINITY}, total[2] = {};

  // Replaces products by exp(score − largest score) and returns the factors that rescale earlier results.
  __device__ void replace(float (&products)[kSteps][2][4], float scale, float (&fading)[2]) {
    // fmaxf ignores a NaN, but the exponential passes it on.
    float largestProduct[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int step = 0; step < kSteps; step++)
#pragma unroll
      for (int n = 0; n < 2; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) largestProduct[e / 2] = fmaxf(largestProduct[e / 2], products[step][n][e]);
    float shift[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const float before = largest[half];
      largestProduct[half] = reduceRow(largestProduct[half], [](float a, float b) { return fmaxf(a, b); });
      largest[half] = fmaxf(before, largestProduct[half] * scale);
      shift[half] = largest[half] * kLog2E;
      fading[half] = powerOfTwo(before * kLog2E - shift[half]);
      total[half] *= fading[half];
    }
    const float scale2 = scale * kLog2E;
#pragma unroll
    for (int step = 0; step < kSteps; step++)
#pragma unroll
      for (int n = 0; n < 2; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          float& x = products[step][n][e];
          x = weightOf(x, scale2, shift[e / 2]);
          total[e / 2] += x;
        }
  }
};

// O of 64 queries, from the keys that they see.
template <int Size>
__global__ void __launch_bounds__(kHeadThreads, 2)
    attentionTensorKernel(const BFloat16* q, const BFloat16* k, const BFloat16* v, BFloat16* out, float* maxima,
                          float* inverseSums, AttentionShape s, float scale) {
  using Tile = HeadTile<Size>;
  STEPSIZE_DYNAMIC_SHARED(BFloat16, shared);
  constexpr int kQueries = 0;
  using KeysAndValues = HeadStages<1>;
  const BlockPlace place = BlockPlace::ofQueries(s, kHeadRows);
  const HeadCopies<Size> copies(shared, s, place.head);
  const int diagonal = place.first / kHeadRows;
  const auto begin = [&](int tile) {
    if (tile <= diagonal) {
      copies.load(KeysAndValues::first(tile), k, tile * kHeadRows);
      copies.load(KeysAndValues::second(tile), v, tile * kHeadRows);
    }
    commitCopies();
  };
  copies.load(kQueries, q, place.first);
  begin(0);

  waitForCopies<0>();
  __syncthreads();
  const FragmentLoader<Size> loader(shared);
  const WarpRows<Size> rows(loader, kQueries);
  HeadSums<Size> sums;
  RunningSoftmax softmax;
  // Of the diagonal tile a warp needs the steps up to its own. In that step, some keys are not visible.
  const auto attend = [&](int tile, auto isDiagonal) {
    constexpr bool kIsDiagonal = decltype(isDiagonal)::value;
    waitForCopies<0>();
    // After the barrier, the copies of all threads have arrived, and no thread reads the stage that is filled next.
    __syncthreads();
    begin(tile + 1);
    const int needed = kIsDiagonal ? stepOfWarp() + 1 : kSteps;
    float scores[kSteps][2][4];
#pragma unroll
    for (int step = 0; step < kSteps; step++) {
      if (step < needed) rows.multiply(Tile::rows(KeysAndValues::first(tile), step), scores[step]);
      if constexpr (kIsDiagonal)
#pragma unroll
        for (int n = 0; n < 2; n++)
#pragma unroll
          for (int e = 0; e < 4; e++)
            if (step >= needed || (step == needed - 1 && isLater(n, e))) scores[step][n][e] = -INFINITY;
    }
    float fading[2];
    softmax.replace(scores, scale, fading);
    sums.scale(fading);
#pragma unroll
    for (int step = 0; step < kSteps; step++)
      if (step < needed) sums.add(loader, scores[step], Tile::rows(KeysAndValues::second(tile), step));
  };
  for (int tile = 0; tile < diagonal; tile++) attend(tile, std::false_type{});
  attend(diagonal, std::true_type{});

  float inverse[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    inverse[half] = 1.0f / reduceRow(softmax.total[half], [](float a, float b) { return a + b; });
    const int query = place.first + stepOfWarp() * kStepRows + rowInFragment() + half * 8;
    if (columnInFragment() == 0 && query < s.length) {
      const int64_t at = static_cast<int64_t>(place.head) * s.length + query;
      maxima[at] = softmax.largest[half];
      inverseSums[at] = inverse[half];
    }
  }
  sums.scale(inverse);
  sums.write(shared, kQueries);
  __syncthreads();
  copies.store(kQueries, out, place.first);
}

// dQ of 64 queries, from the keys that they see.
template <int Size>
__global__ void __launch_bounds__(kHeadThreads, 2)
    attentionQueryGradientTensorKernel(AttentionGradientTensors<BFloat16> t, AttentionShape s, float scale) {
  using Tile = HeadTile<Size>;
  STEPSIZE_DYNAMIC_SHARED(BFloat16, shared);
  constexpr int kQueries = 0, kGradients = 1;
  using KeysAndValues = HeadStages<2>;
  const BlockPlace place = BlockPlace::ofQueries(s, kHeadRows);
  const HeadCopies<Size> copies(shared, s, place.head);
  const int diagonal = place.first / kHeadRows;
  const auto begin = [&](int tile) {
    if (tile <= diagonal) {
      copies.load(KeysAndValues::first(tile), t.k, tile * kHeadRows);
      copies.load(KeysAndValues::second(tile), t.v, tile * kHeadRows);
    }
    commitCopies();
  };
  copies.load(kQueries, t.q, place.first);
  copies.load(kGradients, t.g, place.first);
  begin(0);

  // Rows beyond the sequence get the numbers of its last query. Their results are not stored.
  float shift[2], factor[2], delta[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int query = place.first + stepOfWarp() * kStepRows + rowInFragment() + half * 8;
    const QueryNumbers numbers = t.numbers[static_cast<int64_t>(place.head) * s.length + min(query, s.length - 1)];
    shift[half] = numbers.shift;
    factor[half] = numbers.inverseSum * scale;
    delta[half] = numbers.delta;
  }
  const float scale2 = scale * kLog2E;
  waitForCopies<0>();
  __syncthreads();
  const FragmentLoader<Size> loader(shared);
  const WarpRows<Size> queryRows(loader, kQueries), gradientRows(loader, kGradients);
  HeadSums<Size> sums;
  const auto arrive = [&](int tile) {
    waitForCopies<0>();
    __syncthreads();
    begin(tile + 1);
  };
  const auto add = [&](int tile, int step, auto isDiagonal) {
    const int keys = Tile::rows(KeysAndValues::first(tile), step);
    float scores[2][4], products[2][4];
    queryRows.multiply(keys, scores);
    gradientRows.multiply(Tile::rows(KeysAndValues::second(tile), step), products);
#pragma unroll
    for (int n = 0; n < 2; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        // dS without the factors that are the same for all keys.
        float& x = scores[n][e];
        x = weightOf(x, scale2, shift[e / 2]) * (products[n][e] - delta[e / 2]);
        if (decltype(isDiagonal)::value && isLater(n, e)) x = 0;
      }
    sums.add(loader, scores, keys);
  };
  for (int tile = 0; tile < diagonal; tile++) {
    arrive(tile);
#pragma unroll 2
    for (int step = 0; step < kSteps; step++) add(tile, step, std::false_type{});
  }
  arrive(diagonal);
#pragma unroll 1
  for (int step = 0; step < stepOfWarp(); step++) add(diagonal, step, std::false_type{});
  add(diagonal, stepOfWarp(), std::true_type{});

  sums.scale(factor);
  sums.write(shared, kQueries);
  __syncthreads();
  copies.store(kQueries, t.dQ, place.first);
}

// dK and dV of 64 keys, from the queries that see them. The scores are transposed here: keys are their rows.
template <int Size>
__global__ void __launch_bounds__(kHeadThreads, 2)
    attentionKeyGradientTensorKernel(AttentionGradientTensors<BFloat16> t, AttentionShape s, float scale) {
  using Tile = HeadTile<Size>;
  STEPSIZE_DYNAMIC_SHARED(BFloat16, shared);
  constexpr int kKeys = 0, kValues = 1;
  // With heads of 128 numbers, the sums alone take half of the registers.
  constexpr bool kHeld = Size < 128;
  [[maybe_unused]] constexpr int kUnrolled = kHeld ? 2 : 1;
  using QueriesAndGradients = HeadStages<2>;
  const auto numbers = [&](int stage) {
    return reinterpret_cast<QueryNumbers*>(shared + 6 * Tile::kElements) + stage % 2 * kHeadRows;
  };
  const BlockPlace place = BlockPlace::ofKeys(s, kHeadRows);
  const HeadCopies<Size> copies(shared, s, place.head);
  const int diagonal = place.first / kHeadRows, tiles = static_cast<int>(s.tiles(kHeadRows));
  const int thread = static_cast<int>(threadIdx.x);
  const QueryNumbers* const numbersOfHead = t.numbers + static_cast<int64_t>(place.head) * s.length;
  const auto begin = [&](int tile) {
    if (tile < tiles) {
      const int first = tile * kHeadRows;
      copies.load(QueriesAndGradients::first(tile), t.q, first);
      copies.load(QueriesAndGradients::second(tile), t.g, first);
      // A query beyond the sequence gets zeros, with which its probabilities are zero.
      if (thread < kHeadRows)
        copyAsync16(numbers(tile) + thread, numbersOfHead + first + thread, first + thread >= s.length);
    }
    commitCopies();
  };
  copies.load(kKeys, t.k, place.first);
  copies.load(kValues, t.v, place.first);
  begin(diagonal);

  const float scale2 = scale * kLog2E;
  waitForCopies<0>();
  __syncthreads();
  const FragmentLoader<Size> loader(shared);
  const WarpRows<Size, kHeld> keyRows(loader, kKeys), valueRows(loader, kValues);
  HeadSums<Size> sumsK, sumsV;
  const auto arrive = [&](int tile) {
    waitForCopies<0>();
    __syncthreads();
    begin(tile + 1);
  };
  const auto add = [&](int tile, int step, auto isDiagonal) {
    const int queries = Tile::rows(QueriesAndGradients::first(tile), step),
              gradients = Tile::rows(QueriesAndGradients::second(tile), step);
    float scores[2][4], products[2][4];
    keyRows.multiply(queries, scores);
    valueRows.multiply(gradients, products);
#pragma unroll
    for (int n = 0; n < 2; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const QueryNumbers query = numbers(tile)[step * kStepRows + n * 8 + columnInFragment() + e % 2];
        float &p = scores[n][e], &dS = products[n][e];
        p = weightOf(p, scale2, query.shift) * query.inverseSum;
        if (decltype(isDiagonal)::value && isEarlier(n, e)) p = 0;
        dS = p * (dS - query.delta);
      }
    sumsV.add(loader, scores, gradients);
    sumsK.add(loader, products, queries);
  };
  arrive(diagonal);
  add(diagonal, stepOfWarp(), std::true_type{});
#pragma unroll 1
  for (int step = stepOfWarp() + 1; step < kSteps; step++) add(diagonal, step, std::false_type{});
  for (int tile = diagonal + 1; tile < tiles; tile++) {
    arrive(tile);
#pragma unroll(kUnrolled)
    for (int step = 0; step < kSteps; step++) add(tile, step, std::false_type{});
  }

  const float factors[2] = {scale, scale};
  sumsK.scale(factors);
  sumsK.write(shared, kKeys);
  sumsV.write(shared, kValues);
  __syncthreads();
  copies.store(kKeys, t.dK, place.first);
  copies.store(kValues, t.dV, place.first);
}

}  // namespace stepsize::cuda
