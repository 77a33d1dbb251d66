// The matrix product of the CUDA backend: C[m,n] = A[m,k] · B[k,n], summed in float32. bfloat16 operands are multiplied
// on tensor cores. float32 operands are multiplied by fused multiply-adds, or rounded to TF32 and multiplied on tensor
// cores if the device was opened with that (gemm_sums.cuh). Operands are read through loaders
// (gemm_operands.cuh), so that convolutions use the same kernel.
//
// A block computes a tile of C, and each warp keeps a part of it in registers. Tiles of A and B pass through shared
// memory in a ring of stages (gemm_stages.cuh): while one stage is multiplied, the next ones are copied, and threads
// wait for one barrier per stage. If C is small and k long, k is cut into slices of a fixed length (gridDim.y). The
// sums of the slices are stored one after another, and addSlicesKernel adds them in order. Each sum adds its terms in
// the order of k, so all tiles give the same bits.
//
// C is row-major. The epilogue (epilogue.h) is applied to each sum before it is stored, or when the slices are added.
//
// A tile of 256 × 128 reads 3/256 of an element from the L2 cache per multiply-add, a tile of 128 × 128 reads 1/64.
// Memory traffic is at least m·k + k·n + m·n elements.
//
// The loop over stages has 2.0 to 2.5 instructions per mma for dense operands in tiles of 128 × 128 and more: one mma,
// a quarter of a load of fragments, and for each 16-byte chunk its copy and the addition to its address. Windows of
// images take 2.5 to 4.9, small tiles 3.9 for dense operands and up to 8 for windows. TF32 takes one more to round, and
// up to two more in small tiles and for operands whose neighbours are lines. The scheduler of a warp issues an
// instruction per cycle, and the tensor core of the warp takes about 6 cycles for an mma. In small tiles the shared
// memory takes 12 of the scheduler's cycles for an mma (see the kinds of products), so that instructions are not what
// limits them.
#pragma once

#include "../epilogue.h"
#include "divider.h"
#include "gemm_operands.cuh"
#include "gemm_sums.cuh"
#include "grid_loops.cuh"

namespace stepsize::cuda {

// The sizes of a product. Each is below 2³¹, which the launcher checks, so indices have 32 bits; offsets have 64.
struct GemmShape {
  int m, n, k;
  int slice;  // the length of a slice of k
};

// The kinds of products: the type of the operands, how they are multiplied, and the tiles of C for blocks (gemm_tiles.h
// chooses among them).
//
// For each mma, tensor cores need about 1.6 cycles of a multiprocessor. Shared memory needs, per mma of a warp, 4
// cycles for each fragment that is loaded and 1 for each 128 bytes that are copied into it. Together, as shares of the
// tensor cores' time: 86 % in a huge tile, 94 % in a large one, 102 % in a tall or wide one, 188 % in a small one.
struct Float32Product {
  using Element = float;
  using LargeTile = BlockTile<128, 128, 4, 4, 1, Float32Product>;
  using TallTile = BlockTile<128, 64, 4, 2, 2, Float32Product>;
  using SmallTile = BlockTile<64, 64, 2, 2, 4, Float32Product>;
  template <class A, class B, class Tile>
  using Sums = FmaSums<A, B, Tile>;
};
template <class T, class Kind>
struct TensorCoreProduct {
  using Element = T;
  using HugeTile = BlockTile<256, 128, 4, 2, 1, Kind>;
  using LargeTile = BlockTile<128, 128, 2, 2, 2, Kind>;
  using TallTile = BlockTile<256, 64, 4, 1, 2, Kind>;
  using WideTile = BlockTile<64, 256, 1, 4, 2, Kind>;
  using SmallTile = BlockTile<64, 64, 2, 2, 4, Kind>;
  template <class A, class B, class Tile>
  using Sums = TensorCoreSums<A, B, Tile>;
};
struct Tf32Product : TensorCoreProduct<float, Tf32Product> {
  // Two warps instead of four load and round less for each mma.
  using SmallTile = BlockTile<64, 64, 1, 2, 6, Tf32Product>;
};
struct BFloat16Product : TensorCoreProduct<BFloat16, BFloat16Product> {};

// The tile of C of a block. Blocks that run at the same time take eight rows of tiles, column by column, so that what
// they read of A and B is in the L2 cache for all of them. If blocks took whole rows of tiles of a wide C, each row
// would read all of B.
struct TileOfBlock {
  int row, column;

  __device__ TileOfBlock(int rows, int columns) {
    constexpr int together = 8;
    const int block = static_cast<int>(blockIdx.x), first = block / (together * columns) * together;
    const int within = block - first * columns, high = min(together, rows - first);
    row = first + within % high;
    column = within / high;
  }
};

// A result whose rows follow one another.
template <class T>
struct DenseResult {
  using Element = T;
  T* data;
  int columns;
  __device__ T* row(int index) const { return data + static_cast<int64_t>(index) * columns; }
};

// Whether groups of four columns of a row-major tensor can be moved at once.
template <class T>
__device__ __forceinline__ bool hasAlignedFours(const T* data, int columns) {
  return columns % 4 == 0 && isAligned16(data);
}

// The epilogue of up to four neighbouring columns, in rows of a tensor with `columns` columns. It is prepared once and
// applied to many rows. The activation is a template parameter, because a choice for each element would take as long as
// the activation.
template <class T, Activation Kind>
class ColumnEpilogue {
  float bias[4] = {};
  const T* residual;
  int columns, column, count;
  bool aligned;

 public:
  __device__ ColumnEpilogue(const Epilogue<T>& finish, int allColumns, int firstColumn, int ownColumns)
      : residual(finish.residual),
        columns(allColumns),
        column(firstColumn),
        count(ownColumns),
        aligned(hasAlignedFours(finish.residual, allColumns)) {
    if (finish.bias) loadGroup(finish.bias + column, hasAlignedFours(finish.bias, columns), count, bias);
  }

  __device__ void apply(int row, float (&x)[4]) const {
    float more[4] = {};
    if (residual) loadGroup(residual + static_cast<int64_t>(row) * columns + column, aligned, count, more);
#pragma unroll
    for (int e = 0; e < 4; e++) x[e] = activated<Kind>(x[e] + bias[e]) + more[e];
  }
};

// The epilogue of a product that has none, and of the sums of a slice.
struct NoEpilogue {
  __device__ void apply(int, float (&)[4]) const {}
};

// Calls f with the epilogue of these columns. The activation is chosen here, once for all rows.
template <class F>
__device__ __forceinline__ void withEpilogue(NoEpilogue none, int, int, int, const F& f) {
  f(none);
}
template <class T, class F>
__device__ __forceinline__ void withEpilogue(const Epilogue<T>& finish, int columns, int column, int count,
                                             const F& f) {
  switch (finish.activate.kind) {
    case Activation::relu: return f(ColumnEpilogue<T, Activation::relu>(finish, columns, column, count));
    case Activation::gelu: return f(ColumnEpilogue<T, Activation::gelu>(finish, columns, column, count));
    case Activation::silu: return f(ColumnEpilogue<T, Activation::silu>(finish, columns, column, count));
    default: return f(ColumnEpilogue<T, Activation::none>(finish, columns, column, count));
  }
}

// C = A·B, one block per tile of C and slice of k. If `slices` is not null, the sums go there and not to C.
template <class A, class B, class C, class Tile, class Finish>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    gemmKernel(GemmShape s, A a, B b, C c, float* slices, Finish finish) {
  using Element = typename A::Element;
  using TileA = StageTile<A, Tile::kRows>;
  using TileB = StageTile<B, Tile::kColumns>;
  constexpr int stageElements = TileA::kElements + TileB::kElements;
  STEPSIZE_DYNAMIC_SHARED(Element, shared);
  const TileOfBlock at((s.m - 1) / Tile::kRows + 1, (s.n - 1) / Tile::kColumns + 1);
  const int row0 = at.row * Tile::kRows, column0 = at.column * Tile::kColumns;
  const int begin = static_cast<int>(blockIdx.y) * s.slice, end = begin + min(s.slice, s.k - begin);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lineA = warp / Tile::kWarpsB * Tile::kLinesA, lineB = warp % Tile::kWarpsB * Tile::kLinesB;

  StageCopy<A, Tile::kRows, Tile::kThreads> copyA(a, row0, s.m, begin);
  StageCopy<B, Tile::kColumns, Tile::kThreads> copyB(b, column0, s.n, begin);
  // Copies the stage from k on. Stages beyond the end are zeros, so that nothing depends on their number.
  const auto copyStage = [&](int k, int place) {
    copyA.load(TileA{shared + place}, k, end);
    copyB.load(TileB{shared + place + TileA::kElements}, k, end);
    commitCopies();
  };
#pragma unroll
  for (int stage = 0; stage < kStages - 1; stage++)
    copyStage(begin + stage * kStageDepth<Element>, stage * stageElements);

  typename Tile::Product::template Sums<A, B, Tile> sums(lineA, lineB);
  // The places of the stage that is multiplied and of the one that is free.
  int place = 0, free = (kStages - 1) * stageElements;
#pragma unroll 1
  for (int k = begin; k < end; k += kStageDepth<Element>) {
    waitForCopies<kStages - 2>();
    // After the barrier, the copies of all threads have arrived, and no thread reads the stage that is filled next.
    __syncthreads();
    copyStage(k + (kStages - 1) * kStageDepth<Element>, free);
    sums.multiply(TileA{shared + place}, TileB{shared + place + TileA::kElements});
    free = place;
    place = place == (kStages - 1) * stageElements ? 0 : place + stageElements;
  }
  waitForCopies<0>();

  // The sums go to C through shared memory. This stores whole rows, and the epilogue is compiled once instead of once
  // for each sum of a thread.
  auto* tile = reinterpret_cast<float*>(shared);
  // Groups of eight numbers are permuted, so that the eight rows of a fragment lie in different banks.
  const auto sumAt = [&](int row, int column) {
    return tile + row % Tile::kRowsAtOnce * Tile::kColumns + (column ^ ((row & 7) * 8));
  };
  constexpr int fours = Tile::kColumns / 4;
  const int ownRow = static_cast<int>(threadIdx.x) / fours, ownColumn = static_cast<int>(threadIdx.x) % fours * 4;
  const int count = min(4, s.n - column0 - ownColumn);
#pragma unroll 1
  for (int first = 0; first < Tile::kRows; first += Tile::kRowsAtOnce) {
    __syncthreads();
    if (lineA / Tile::kRowsAtOnce * Tile::kRowsAtOnce == first) sums.store(sumAt);
    __syncthreads();
    if (count <= 0) continue;
    const int rows = min(Tile::kRowsAtOnce, s.m - row0 - first);
    // The columns of a thread are the same in all its rows.
    const auto storeRows = [&](const auto& rowOf, bool aligned, const auto& ownFinish) {
#pragma unroll 1
      for (int i = ownRow; i < rows; i += Tile::kThreads / fours) {
        float x[4];
        loadAligned(sumAt(i, ownColumn), x);
        ownFinish.apply(row0 + first + i, x);
        storeGroup(rowOf(row0 + first + i) + column0 + ownColumn, aligned, count, x);
      }
    };
    if (slices) {
      const DenseResult<float> own{slices + static_cast<int64_t>(blockIdx.y) * s.m * s.n, s.n};
      storeRows([&](int row) { return own.row(row); }, hasAlignedFours(own.data, s.n), NoEpilogue{});
    } else {
      withEpilogue(finish, s.n, column0 + ownColumn, count, [&](const auto& ownFinish) {
        storeRows([&](int row) { return c.row(row); }, hasAlignedFours(c.data, s.n), ownFinish);
      });
    }
  }
}

// Adds the slices in order and applies the epilogue; a thread takes four columns of a row at a time. It reads 4 bytes
// per element and slice, and what the epilogue reads, and writes the result.
template <class C, class Finish>
__global__ void __launch_bounds__(kElementThreads)
    addSlicesKernel(const float* slices, C c, int rows, int columns, Divider fours, int count, Finish finish) {
  const int64_t elements = static_cast<int64_t>(rows) * columns;
  const bool alignedSlices = hasAlignedFours(slices, columns), alignedC = hasAlignedFours(c.data, columns);
  const int groups = rows * fours.divisor, step = static_cast<int>(gridDim.x) * kElementThreads;
  for (int i = static_cast<int>(blockIdx.x) * kElementThreads + static_cast<int>(threadIdx.x); i < groups; i += step) {
    const int row = fours.quotient(i), column = (i - row * fours.divisor) * 4, own = min(4, columns - column);
    const float* from = slices + static_cast<int64_t>(row) * columns + column;
    float sums[4] = {};
    for (int slice = 0; slice < count; slice++) {
      float x[4] = {};
      loadGroup(from + slice * elements, alignedSlices, own, x);
#pragma unroll
      for (int e = 0; e < 4; e++) sums[e] += x[e];
    }
    withEpilogue(finish, columns, column, own, [&](const auto& ownFinish) { ownFinish.apply(row, sums); });
    storeGroup(c.row(row) + column, alignedC, own, sums);
  }
}

}  // namespace stepsize::cuda
