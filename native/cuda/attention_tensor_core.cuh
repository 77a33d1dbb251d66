// Causal attention in bfloat16 on tensor cores with a running softmax; cpu/kernels/attention.h has the formulas. It
// takes heads of at most 128 numbers that consist of whole chunks of 16 bytes; attention.cuh has the others.
//
// A block takes 128 queries of a head, and each of its four warps takes 32 of them, as two fragments of 16. With heads
// above 64 numbers, and above 32 in dK and dV, the registers hold one fragment, and a block takes 64 queries. Keys and
// values pass through two stages of shared memory in tiles of 64: while one stage is multiplied, the next is copied.
// Scores stay in registers, where the sums of one product are the operand of the next. Scores are float32;
// probabilities and gradients of scores are rounded to bfloat16 before they are multiplied, as every operand of a
// tensor core is. The backward pass has two kernels, one by queries for dQ and one by keys for dK and dV, so that one
// warp owns each sum and adds in one order.
//
// Only the tiles on the diagonal, one or two, have keys that a query does not see. They have a loop body of their own,
// in which a warp multiplies only the steps that it needs and compares positions only in those of its own rows.
//
// A pair of positions takes 4·size flops per head forward and 14·size backward. A block reads its own rows from memory
// once. The other tiles come from the L2 cache: a tile of both tensors per 128 × 64 pairs, which is a byte per 128
// flops of O and 192 of dQ; with one fragment a byte per 64, per 96, and per 128 of dK and dV.
//
// The loops in machine code for sm_90, for a warp and a tile of 64; not run on hardware:
//
//                       heads of 64 numbers                   heads of 128 numbers
//                       rows   instructions   mma   ldmatrix    rows   instructions   mma   ldmatrix
//   O                     32            684   128         32      16            476   128         64
//   dQ                    32            689   192         48      16            593   192         96
//   dK and dV             16            531   128         64      16            870   256        192
//
// O is counted for a tile in which no row gets a larger score, so that earlier sums are not rescaled. At the peak of
// the tensor cores an mma takes 4 cycles of a quarter of a multiprocessor, which issues one instruction per cycle;
// mma.sync reaches one in about 6.4. An ldmatrix takes 4 cycles of the shared memory, which the four quarters share.
// With two fragments that is 4 cycles of a quarter per mma, less than the instructions and the tensor cores. With one
// fragment it is 8, and 12 for dK and dV of 128 numbers. At 60 % of the peak, an H200 (989 TFLOP/s) would read 4.6 TB/s
// from its L2 cache for O with two fragments.
#pragma once

#include <type_traits>

#include "attention_shape.cuh"
#include "tensor_core.cuh"

namespace stepsize::cuda {

constexpr int kHeadRows = 64;  // rows of a tile
constexpr int kHeadWarps = 4;
constexpr int kHeadThreads = 32 * kHeadWarps;
constexpr int kStepRows = 16;  // rows of a fragment; a warp reads this many rows of the other tensors at once
constexpr int kSteps = kHeadRows / kStepRows;

// The fragments of result rows of a warp, as many as its registers hold.
template <int Size>
constexpr int kOutputFragments = Size <= 64 ? 2 : 1;
template <int Size>
constexpr int kQueryFragments = Size <= 64 ? 2 : 1;
template <int Size>
constexpr int kKeyFragments = Size <= 32 ? 2 : 1;
// The result rows of a block; each is a tile or two.
template <int Fragments>
constexpr int kBlockRows = kHeadWarps* kStepRows* Fragments;

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
constexpr size_t kForwardBytes = (kOutputFragments<Size> + 4) * HeadTile<Size>::kBytes;
template <int Size>
constexpr size_t kQueryGradientBytes = (2 * kQueryFragments<Size> + 4) * HeadTile<Size>::kBytes;
template <int Size>
constexpr size_t kKeyGradientBytes = (2 * kKeyFragments<Size> + 4) * HeadTile<Size>::kBytes +
                                     2 * kHeadRows * sizeof(QueryNumbers);

// The first of the steps of the block's rows that this warp owns, one for each fragment.
template <int Fragments>
__device__ __forceinline__ int stepOfWarp() {
  return static_cast<int>(threadIdx.x) / 32 * Fragments;
}
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

// Whether a pair of positions in the group of a warp is hidden: if the step of the key follows that of the query, or in
// the same step, if the position in the fragment is.
__device__ __forceinline__ bool isHidden(int keyStep, int queryStep, bool inFragment) {
  return keyStep > queryStep || (keyStep == queryStep && inFragment);
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

// The sums of 16 rows by 16 columns of a product, for each fragment of a warp's rows.
template <int Fragments>
using Scores = float[Fragments][2][4];

// The warp's rows of tiles of the block, as first operand. They are loaded once if registers suffice to hold them.
template <int Size, int Fragments, bool Held = true>
class WarpRows {
 public:
  // Call this after the copies of the tiles have arrived.
  __device__ WarpRows(const FragmentLoader<Size>& loader, int tile)
      : loader_(loader), rows_(HeadTile<Size>::rows(tile, stepOfWarp<Fragments>())) {
    if constexpr (Held)
#pragma unroll
      for (int f = 0; f < Fragments; f++)
#pragma unroll
        for (int d = 0; d < Size; d += 16) loader_.loadFirst(rowsOf(f), d, held_[f][d / 16]);
  }
  // The products with 16 rows of another tile.
  __device__ void multiply(int rows, Scores<Fragments>& products) const {
#pragma unroll
    for (int f = 0; f < Fragments; f++)
#pragma unroll
      for (int half = 0; half < 2; half++)
#pragma unroll
        for (int e = 0; e < 4; e++) products[f][half][e] = 0;
#pragma unroll
    for (int d = 0; d < Size; d += 16) {
      uint32_t b[4];
      loader_.loadSecond(rows, d, b);
#pragma unroll
      for (int f = 0; f < Fragments; f++) {
        if constexpr (Held) {
          multiplyAdd(products[f][0], products[f][1], held_[f][d / 16], b);
        } else {
          uint32_t a[4];
          loader_.loadFirst(rowsOf(f), d, a);
          multiplyAdd(products[f][0], products[f][1], a, b);
        }
      }
    }
  }

 private:
  __device__ int rowsOf(int fragment) const { return rows_ + fragment * kStepRows * Size; }
  const FragmentLoader<Size>& loader_;
  int rows_;
  uint32_t held_[Fragments][Held ? Size / 16 : 1][4];
};

// The sums of a warp's result rows.
template <int Size, int Fragments>
struct HeadSums {
  float value[Fragments][Size / 8][4] = {};

  // Adds weights · 16 rows of a tile.
  __device__ void add(const FragmentLoader<Size>& loader, const Scores<Fragments>& weights, int rows) {
    uint32_t a[Fragments][4];
#pragma unroll
    for (int f = 0; f < Fragments; f++) asFirstOperand(weights[f], a[f]);
#pragma unroll
    for (int d = 0; d < Size; d += 16) {
      uint32_t b[4];
      loader.loadSecondTransposed(rows, d, b);
#pragma unroll
      for (int f = 0; f < Fragments; f++) multiplyAdd(value[f][d / 8], value[f][d / 8 + 1], a[f], b);
    }
  }
  __device__ void scale(const float (&factors)[Fragments][2]) {
#pragma unroll
    for (int f = 0; f < Fragments; f++)
#pragma unroll
      for (int n = 0; n < Size / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) value[f][n][e] *= factors[f][e / 2];
  }
  // Writes the sums to the warp's rows of the block's tiles from `tile` on, which only this warp has read.
  __device__ void write(BFloat16* shared, int tile) const {
    __syncwarp();
#pragma unroll
    for (int f = 0; f < Fragments; f++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int row = rowInFragment() + half * 8;
        BFloat16* to = shared + HeadTile<Size>::rows(tile, stepOfWarp<Fragments>() + f) + columnInFragment();
#pragma unroll
        for (int n = 0; n < Size / 8; n++)
          *reinterpret_cast<uint32_t*>(to + HeadTile<Size>::offset(row, n)) =
              roundedPair(value[f][n][2 * half], value[f][n][2 * half + 1]);
      }
  }
};

// Reduces over the four lanes that share a row of a fragment.
template <class Reduce>
__device__ __forceinline__ float reduceRow(float value, const Reduce& reduce) {
  value = reduce(value, __shfl_xor_sync(0xffffffffu, value, 1));
  return reduce(value, __shfl_xor_sync(0xffffffffu, value, 2));
}

// The softmax of the lane's rows, two in each fragment and eight apart, while keys arrive in tiles. The totals are the
// lane's share.
template <int Fragments>
struct RunningSoftmax {
  float largest[Fragments][2], total[Fragments][2] = {};

  __device__ RunningSoftmax() {
#pragma unroll
    for (int f = 0; f < Fragments; f++) largest[f][0] = largest[f][1] = -INFINITY;
  }

  // Replaces products by exp(score − largest score) and returns the factors that rescale earlier results.
  template <int Steps>
  __device__ void replace(Scores<Fragments> (&products)[Steps], float scale, float (&fading)[Fragments][2]) {
    const float scale2 = scale * kLog2E;
#pragma unroll
    for (int f = 0; f < Fragments; f++) {
      // fmaxf ignores a NaN, but the exponential passes it on.
      float largestProduct[2] = {-INFINITY, -INFINITY};
#pragma unroll
      for (int step = 0; step < Steps; step++)
#pragma unroll
        for (int n = 0; n < 2; n++)
#pragma unroll
          for (int e = 0; e < 4; e++) largestProduct[e / 2] = fmaxf(largestProduct[e / 2], products[step][f][n][e]);
      float shift[2];
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const float before = largest[f][half];
        largestProduct[half] = reduceRow(largestProduct[half], [](float a, float b) { return fmaxf(a, b); });
        largest[f][half] = fmaxf(before, largestProduct[half] * scale);
        shift[half] = largest[f][half] * kLog2E;
        fading[f][half] = powerOfTwo(before * kLog2E - shift[half]);
        total[f][half] *= fading[f][half];
      }
#pragma unroll
      for (int step = 0; step < Steps; step++)
#pragma unroll
        for (int n = 0; n < 2; n++)
#pragma unroll
          for (int e = 0; e < 4; e++) {
            float& x = products[step][f][n][e];
            x = weightOf(x, scale2, shift[e / 2]);
            total[f][e / 2] += x;
          }
    }
  }
};

// The tiles of a block on the diagonal: its own rows. A tile has one group of steps for each warp that has rows in it,
// and a group has a step for each fragment.
template <int Fragments>
struct Diagonal {
  int first, last;  // the last tile may be the first one if the sequence ends there

  __device__ Diagonal(const AttentionShape& s, int firstRow)
      : first(firstRow / kHeadRows),
        last(Fragments == 1 ? first : min(first + Fragments, static_cast<int>(s.tiles(kHeadRows))) - 1) {}
  // The group of a tile that has the positions of the warp. It may be before or after the tile.
  __device__ int groupIn(int tile) const {
    return static_cast<int>(threadIdx.x) / 32 - (tile - first) * (kSteps / Fragments);
  }
};

// Copies the rows of a block.
template <int Fragments, int Size>
__device__ __forceinline__ void loadRows(const HeadCopies<Size>& copies, int tile, const BFloat16* x, int first) {
#pragma unroll
  for (int i = 0; i < Fragments; i++) copies.load(tile + i, x, first + i * kHeadRows);
}
template <int Fragments, int Size>
__device__ __forceinline__ void storeRows(const HeadCopies<Size>& copies, int tile, BFloat16* x, int first) {
#pragma unroll
  for (int i = 0; i < Fragments; i++) copies.store(tile + i, x, first + i * kHeadRows);
}

// O of the queries of a block, from the keys that they see.
template <int Size>
__global__ void __launch_bounds__(kHeadThreads, 2)
    attentionTensorKernel(const BFloat16* q, const BFloat16* k, const BFloat16* v, BFloat16* out, float* maxima,
                          float* inverseSums, AttentionShape s, float scale) {
  using Tile = HeadTile<Size>;
  STEPSIZE_DYNAMIC_SHARED(BFloat16, shared);
  constexpr int kFragments = kOutputFragments<Size>, kQueries = 0;
  using KeysAndValues = HeadStages<kFragments>;
  const BlockPlace place = BlockPlace::ofQueries(s, kBlockRows<kFragments>);
  const HeadCopies<Size> copies(shared, s, place.head);
  const Diagonal<kFragments> diagonal(s, place.first);
  const auto begin = [&](int tile) {
    if (tile <= diagonal.last) {
      copies.load(KeysAndValues::first(tile), k, tile * kHeadRows);
      copies.load(KeysAndValues::second(tile), v, tile * kHeadRows);
    }
    commitCopies();
  };
  loadRows<kFragments>(copies, kQueries, q, place.first);
  begin(0);

  waitForCopies<0>();
  __syncthreads();
  const FragmentLoader<Size> loader(shared);
  const WarpRows<Size, kFragments> rows(loader, kQueries);
  HeadSums<Size, kFragments> sums;
  RunningSoftmax<kFragments> softmax;
  // The steps of which the scores are in registers at once. With two fragments of 64 numbers only half of a tile fits.
  constexpr int kTogether = kFragments * Size <= 64 ? kSteps : kSteps / kFragments, kGroups = kTogether / kFragments;
  // Of a tile on the diagonal a warp needs the groups up to its own. There, some keys are not visible.
  const auto attend = [&](int tile, auto isDiagonal) {
    constexpr bool kIsDiagonal = decltype(isDiagonal)::value;
    waitForCopies<0>();
    // After the barrier, the copies of all threads have arrived, and no thread reads the stage that is filled next.
    __syncthreads();
    begin(tile + 1);
    constexpr int kAll = kSteps / kFragments;
    [[maybe_unused]] const int own = kIsDiagonal ? diagonal.groupIn(tile) : kAll;
    const int groups = min(own + 1, kAll);
#pragma unroll 1
    for (int first = 0; first < groups; first += kGroups) {
      const int needed = kIsDiagonal ? groups - first : kGroups, firstStep = first * kFragments;
      Scores<kFragments> scores[kTogether];
#pragma unroll
      for (int step = 0; step < kTogether; step++) {
        const int group = step / kFragments;
        if (group < needed) rows.multiply(Tile::rows(KeysAndValues::first(tile), firstStep + step), scores[step]);
        if constexpr (kIsDiagonal)
#pragma unroll
          for (int f = 0; f < kFragments; f++)
#pragma unroll
            for (int n = 0; n < 2; n++)
#pragma unroll
              for (int e = 0; e < 4; e++)
                if (group >= needed || (group == own - first && isHidden(step % kFragments, f, isLater(n, e))))
                  scores[step][f][n][e] = -INFINITY;
      }
      float fading[kFragments][2];
      softmax.replace(scores, scale, fading);
      // Most groups of keys change no row's largest score.
      bool fades = false;
#pragma unroll
      for (int f = 0; f < kFragments; f++) fades = fades || fading[f][0] != 1.0f || fading[f][1] != 1.0f;
      if (__any_sync(0xffffffffu, fades)) sums.scale(fading);
#pragma unroll
      for (int step = 0; step < kTogether; step++)
        if (step / kFragments < needed)
          sums.add(loader, scores[step], Tile::rows(KeysAndValues::second(tile), firstStep + step));
    }
  };
  for (int tile = 0; tile < diagonal.first; tile++) attend(tile, std::false_type{});
#pragma unroll 1
  for (int tile = diagonal.first; tile <= diagonal.last; tile++) attend(tile, std::true_type{});

  float inverse[kFragments][2];
#pragma unroll
  for (int f = 0; f < kFragments; f++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      inverse[f][half] = 1.0f / reduceRow(softmax.total[f][half], [](float a, float b) { return a + b; });
      const int query = place.first + (stepOfWarp<kFragments>() + f) * kStepRows + rowInFragment() + half * 8;
      if (columnInFragment() == 0 && query < s.length) {
        const int64_t at = static_cast<int64_t>(place.head) * s.length + query;
        maxima[at] = softmax.largest[f][half];
        inverseSums[at] = inverse[f][half];
      }
    }
  sums.scale(inverse);
  sums.write(shared, kQueries);
  __syncthreads();
  storeRows<kFragments>(copies, kQueries, out, place.first);
}

// dQ of the queries of a block, from the keys that they see.
template <int Size>
__global__ void __launch_bounds__(kHeadThreads, 2)
    attentionQueryGradientTensorKernel(AttentionGradientTensors<BFloat16> t, AttentionShape s, float scale) {
  using Tile = HeadTile<Size>;
  STEPSIZE_DYNAMIC_SHARED(BFloat16, shared);
  constexpr int kFragments = kQueryFragments<Size>, kQueries = 0, kGradients = kFragments;
  // With more steps at once, two fragments do not fit into the registers.
  [[maybe_unused]] constexpr int kUnrolled = kFragments == 1 ? 2 : 1;
  using KeysAndValues = HeadStages<2 * kFragments>;
  const BlockPlace place = BlockPlace::ofQueries(s, kBlockRows<kFragments>);
  const HeadCopies<Size> copies(shared, s, place.head);
  const Diagonal<kFragments> diagonal(s, place.first);
  const auto begin = [&](int tile) {
    if (tile <= diagonal.last) {
      copies.load(KeysAndValues::first(tile), t.k, tile * kHeadRows);
      copies.load(KeysAndValues::second(tile), t.v, tile * kHeadRows);
    }
    commitCopies();
  };
  loadRows<kFragments>(copies, kQueries, t.q, place.first);
  loadRows<kFragments>(copies, kGradients, t.g, place.first);
  begin(0);

  // Rows beyond the sequence get the numbers of its last query. Their results are not stored.
  float shift[kFragments][2], factor[kFragments][2], delta[kFragments][2];
#pragma unroll
  for (int f = 0; f < kFragments; f++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int query = place.first + (stepOfWarp<kFragments>() + f) * kStepRows + rowInFragment() + half * 8;
      const QueryNumbers numbers = t.numbers[static_cast<int64_t>(place.head) * s.length + min(query, s.length - 1)];
      shift[f][half] = numbers.shift;
      factor[f][half] = numbers.inverseSum * scale;
      delta[f][half] = numbers.delta;
    }
  const float scale2 = scale * kLog2E;
  waitForCopies<0>();
  __syncthreads();
  const FragmentLoader<Size> loader(shared);
  const WarpRows<Size, kFragments> queryRows(loader, kQueries), gradientRows(loader, kGradients);
  HeadSums<Size, kFragments> sums;
  const auto arrive = [&](int tile) {
    waitForCopies<0>();
    __syncthreads();
    begin(tile + 1);
  };
  const auto add = [&](int tile, int step, auto isDiagonal, int inGroup) {
    const int keys = Tile::rows(KeysAndValues::first(tile), step);
    Scores<kFragments> scores, products;
    queryRows.multiply(keys, scores);
    gradientRows.multiply(Tile::rows(KeysAndValues::second(tile), step), products);
#pragma unroll
    for (int f = 0; f < kFragments; f++)
#pragma unroll
      for (int n = 0; n < 2; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          // dS without the factors that are the same for all keys.
          float& x = scores[f][n][e];
          x = weightOf(x, scale2, shift[f][e / 2]) * (products[f][n][e] - delta[f][e / 2]);
          if (decltype(isDiagonal)::value && isHidden(inGroup, f, isLater(n, e))) x = 0;
        }
    sums.add(loader, scores, keys);
  };
  for (int tile = 0; tile < diagonal.first; tile++) {
    arrive(tile);
#pragma unroll(kUnrolled)
    for (int step = 0; step < kSteps; step++) add(tile, step, std::false_type{}, 0);
  }
#pragma unroll 1
  for (int tile = diagonal.first; tile <= diagonal.last; tile++) {
    arrive(tile);
    const int own = diagonal.groupIn(tile) * kFragments;
#pragma unroll 1
    for (int step = 0; step < min(own, kSteps); step++) add(tile, step, std::false_type{}, 0);
    if (own < 0 || own >= kSteps) continue;
#pragma unroll 1
    for (int i = 0; i < kFragments; i++) add(tile, own + i, std::true_type{}, i);
  }

  sums.scale(factor);
  sums.write(shared, kQueries);
  __syncthreads();
  storeRows<kFragments>(copies, kQueries, t.dQ, place.first);
}

// dK and dV of the keys of a block, from the queries that see them. The scores are transposed here: keys are their
// rows.
template <int Size>
__global__ void __launch_bounds__(kHeadThreads, 2)
    attentionKeyGradientTensorKernel(AttentionGradientTensors<BFloat16> t, AttentionShape s, float scale) {
  using Tile = HeadTile<Size>;
  STEPSIZE_DYNAMIC_SHARED(BFloat16, shared);
  constexpr int kFragments = kKeyFragments<Size>, kKeys = 0, kValues = kFragments;
  // With heads of 128 numbers, the sums alone take half of the registers.
  constexpr bool kHeld = Size < 128, kBothHeld = kHeld && (Size < 64 || kFragments == 1);
  [[maybe_unused]] constexpr int kUnrolled = kHeld && kFragments == 1 ? 2 : 1;
  using QueriesAndGradients = HeadStages<2 * kFragments>;
  const auto numbers = [&](int stage) {
    return reinterpret_cast<QueryNumbers*>(shared + (2 * kFragments + 4) * Tile::kElements) + stage % 2 * kHeadRows;
  };
  const BlockPlace place = BlockPlace::ofKeys(s, kBlockRows<kFragments>);
  const HeadCopies<Size> copies(shared, s, place.head);
  const Diagonal<kFragments> diagonal(s, place.first);
  const int tiles = static_cast<int>(s.tiles(kHeadRows)), thread = static_cast<int>(threadIdx.x);
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
  loadRows<kFragments>(copies, kKeys, t.k, place.first);
  loadRows<kFragments>(copies, kValues, t.v, place.first);
  begin(diagonal.first);

  const float scale2 = scale * kLog2E;
  waitForCopies<0>();
  __syncthreads();
  const FragmentLoader<Size> loader(shared);
  const WarpRows<Size, kFragments, kHeld> keyRows(loader, kKeys);
  const WarpRows<Size, kFragments, kBothHeld> valueRows(loader, kValues);
  HeadSums<Size, kFragments> sumsK, sumsV;
  const auto arrive = [&](int tile) {
    waitForCopies<0>();
    __syncthreads();
    begin(tile + 1);
  };
  const auto add = [&](int tile, int step, auto isDiagonal, int inGroup) {
    const int queries = Tile::rows(QueriesAndGradients::first(tile), step),
              gradients = Tile::rows(QueriesAndGradients::second(tile), step);
    Scores<kFragments> scores, products;
    keyRows.multiply(queries, scores);
    valueRows.multiply(gradients, products);
#pragma unroll
    for (int n = 0; n < 2; n++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const QueryNumbers query = numbers(tile)[step * kStepRows + n * 8 + columnInFragment() + e];
#pragma unroll
        for (int f = 0; f < kFragments; f++)
#pragma unroll
          for (int half = 0; half < 2; half++) {
            float &p = scores[f][n][2 * half + e], &dS = products[f][n][2 * half + e];
            p = weightOf(p, scale2, query.shift) * query.inverseSum;
            if (decltype(isDiagonal)::value && isHidden(f, inGroup, isEarlier(n, 2 * half + e))) p = 0;
            dS = p * (dS - query.delta);
          }
      }
    sumsV.add(loader, scores, gradients);
    sumsK.add(loader, products, queries);
  };
#pragma unroll 1
  for (int tile = diagonal.first; tile <= diagonal.last; tile++) {
    arrive(tile);
    const int own = diagonal.groupIn(tile) * kFragments;
    if (own >= 0 && own < kSteps)
#pragma unroll
      for (int i = 0; i < kFragments; i++) add(tile, own + i, std::true_type{}, i);
#pragma unroll 1
    for (int step = max(own + kFragments, 0); step < kSteps; step++) add(tile, step, std::false_type{}, 0);
  }
  for (int tile = diagonal.last + 1; tile < tiles; tile++) {
    arrive(tile);
#pragma unroll(kUnrolled)
    for (int step = 0; step < kSteps; step++) add(tile, step, std::false_type{}, 0);
  }

  float factors[kFragments][2];
#pragma unroll
  for (int f = 0; f < kFragments; f++) factors[f][0] = factors[f][1] = scale;
  sumsK.scale(factors);
  sumsK.write(shared, kKeys);
  sumsV.write(shared, kValues);
  __syncthreads();
  storeRows<kFragments>(copies, kKeys, t.dK, place.first);
  storeRows<kFragments>(copies, kValues, t.dV, place.first);
}

}  // namespace stepsize::cuda
