// The matrix product of the CUDA backend: C[m,n] = A[m,k] · B[k,n], summed in float32. bfloat16 operands are multiplied
// on tensor cores and float32 operands by fused multiply-adds (gemm_sums.cuh). Operands are read through loaders
// (gemm_operands.cuh), so that convolutions use the same kernel.
//
// A block computes a tile of C, and each warp keeps a part of it in registers. Tiles of A and B pass through shared
// memory in a ring of stages (gemm_stages.cuh): while one stage is multiplied, the next ones are copied, and threads
// wait for one barrier per stage. If C is small and k long, k is cut into slices of a fixed length (gridDim.y). The
// sums of the slices are stored one after another, and addSlicesKernel adds them in order.
//
// C is row-major. The epilogue (epilogue.h) is applied to each sum before it is stored, or when the slices are added.
//
// A tile of 128 × 128 reads 1/64 of an element from the L2 cache per multiply-add: 1/32 of a byte in bfloat16, 1/16 in
// float32. Memory traffic is at least m·k + k·n + m·n elements.
#pragma once

#include "../epilogue.h"
#include "gemm_operands.cuh"
#include "gemm_sums.cuh"
#include "grid_loops.cuh"

namespace stepsize::cuda {

// The sizes of a product. Each is below 2³¹, which the launcher checks, so indices have 32 bits; offsets have 64.
struct GemmShape {
  int m, n, k;
  int slice;  // the length of a slice of k
};

// How operands of a type are multiplied, and the tiles of C for blocks. Large tiles are used if there are enough to
// fill the device.
template <class Element>
struct Product;
template <>
struct Product<float> {
  using LargeTile = BlockTile<128, 4, 4, 1>;
  using SmallTile = BlockTile<64, 2, 2, 4>;
  template <class A, class B, class Tile>
  using Sums = FmaSums<A, B, Tile>;
};
template <>
struct Product<BFloat16> {
  using LargeTile = BlockTile<128, 2, 4, 2>;
  using SmallTile = BlockTile<64, 2, 2, 4>;
  template <class A, class B, class Tile>
  using Sums = TensorCoreSums<A, B, Tile>;
};

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

// C = A·B, one block per tile of C and slice of k. Bits 0 and 1 of `chunks` say whether A and B can be copied in chunks
// of 16 bytes.
template <class A, class B, class C, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    gemmKernel(GemmShape s, A a, B b, C* c, unsigned chunks, Epilogue<typename A::Element> finish) {
  using Element = typename A::Element;
  constexpr int depth = kStageDepth<Element>;
  STEPSIZE_DYNAMIC_SHARED(Element, shared);
  const auto tileA = [&](int stage) {
    return StageTile<A, Tile::kLines>{shared + stage % kStages * 2 * Tile::kLines * depth};
  };
  const auto tileB = [&](int stage) {
    return StageTile<B, Tile::kLines>{shared + (stage % kStages * 2 + 1) * Tile::kLines * depth};
  };
  const TileOfBlock at((s.m - 1) / Tile::kLines + 1, (s.n - 1) / Tile::kLines + 1);
  const int row0 = at.row * Tile::kLines, column0 = at.column * Tile::kLines;
  const int begin = static_cast<int>(blockIdx.y) * s.slice, end = begin + min(s.slice, s.k - begin);
  const int stages = (end - begin + depth - 1) / depth;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lineA = warp / Tile::kWarpsB * Tile::kLinesA, lineB = warp % Tile::kWarpsB * Tile::kLinesB;

  const StageCopy<A, Tile> copyA(a, row0, s.m, (chunks & 1) != 0);
  const StageCopy<B, Tile> copyB(b, column0, s.n, (chunks & 2) != 0);
  const auto beginStage = [&](int stage) {
    if (stage < stages) {
      copyA.load(a, begin + stage * depth, end, tileA(stage));
      copyB.load(b, begin + stage * depth, end, tileB(stage));
    }
    // Also commit if there was nothing to copy, because waiting counts groups.
    commitCopies();
  };
  for (int stage = 0; stage < kStages - 1; stage++) beginStage(stage);

  typename Product<Element>::template Sums<A, B, Tile> sums;
  for (int stage = 0; stage < stages; stage++) {
    waitForCopies<kStages - 2>();
    // After the barrier, the copies of all threads have arrived, and no thread reads the stage that is filled next.
    __syncthreads();
    beginStage(stage + kStages - 1);
    sums.multiply(tileA(stage), lineA, tileB(stage), lineB);
  }

  // The sums go to C through shared memory. This stores whole rows, and the epilogue is compiled once instead of once
  // for each sum of a thread.
  waitForCopies<0>();
  __syncthreads();
  auto* tile = reinterpret_cast<float*>(shared);
  // Groups of eight numbers are permuted, so that the eight rows of a fragment lie in different banks.
  const auto place = [&](int row, int column) { return tile + row * Tile::kLines + (column ^ ((row & 7) * 8)); };
  sums.store(lineA, lineB, place);
  __syncthreads();
  const bool aligned = s.n % 4 == 0 && isAligned16(c);
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kLines * Tile::kLines / 4; i += Tile::kThreads) {
    const int row = i / (Tile::kLines / 4), column = column0 + i % (Tile::kLines / 4) * 4;
    const int count = min(4, s.n - column);
    if (row0 + row >= s.m || count <= 0) continue;
    float x[4];
    loadAligned(place(row, column - column0), x);
    const int64_t at = static_cast<int64_t>(row0 + row) * s.n + column;
#pragma unroll
    for (int e = 0; e < 4; e++)
      if (e < count) x[e] = finish(x[e], at + e, column + e);
    storeGroup(c + static_cast<int64_t>(blockIdx.y) * s.m * s.n + at, aligned, count, x);
  }
}

// Adds the slices in order and applies the epilogue; a thread takes four elements at a time. It reads 4 bytes per
// element and slice, and what the epilogue reads, and writes the result.
template <class C>
__global__ void __launch_bounds__(kFoursThreads)
    addSlicesKernel(const float* slices, C* c, int64_t count, int columns, int slots, Epilogue<C> finish) {
  const bool alignedSlices = count % 4 == 0 && isAligned16(slices), alignedC = isAligned16(c);
  forFours(count, columns, [&](int64_t at, int elements, int64_t column) {
    float sums[4] = {};
    for (int s = 0; s < slots; s++) {
      float x[4] = {};
      loadGroup(slices + s * count + at, alignedSlices, elements, x);
#pragma unroll
      for (int e = 0; e < 4; e++) sums[e] += x[e];
    }
#pragma unroll
    for (int e = 0; e < 4; e++) {
      if (e < elements) sums[e] = finish(sums[e], at + e, static_cast<int>(column));
      if (++column == columns) column = 0;
    }
    storeGroup(c + at, alignedC, elements, sums);
  });
}

}  // namespace stepsize::cuda
