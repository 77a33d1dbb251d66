// The matrix product of the CUDA backend in float32: C[m,n] = A[m,k] · B[k,n], one tile of 64 × 64 per block.
//
// Operands come through loaders, so that a dense product and the three convolutions are one kernel. An operand is read
// by its lines, rows of A or columns of B, and by depths, places along k; what an address needs of either is worked out
// once, by `line` before the loop over k and by `depth` once a tile:
//
//   struct Line, Depth
//   Line line(index), Depth depth(k)
//   const Element* at(line, depth)      null for a zero that is not in memory
//   bool kAlongLines                    whether neighbours in memory are neighbouring lines, not depths
//   const Element* data
//   int64_t neighbours()                how many lie side by side: a multiple of 8 can be read by eights
//
// C is row-major, and the slices of k lie one after another. An epilogue (epilogue.h) sees each sum before it is
// stored; where k is cut, when the slices are added.
//
// Each thread keeps 4 × 4 sums; the tiles of A and B meet in shared memory 16 deep, 0.5 bytes from memory per
// multiply-add. For a small C and a long k the depth is cut into slices of a fixed length (gridDim.y), whose sums are
// added in order by addSlicesKernel. No tensor cores: float32 has none that keep its precision.
#pragma once

#include "../element_types.h"
#include "../epilogue.h"
#include "grid_loop.cuh"

namespace stepsize::cuda {

constexpr int kGemmTile = 64;
constexpr int kGemmDepth = 16;
constexpr int kGemmFlush = 16;  // tiles of the depth that go into one accumulator
constexpr int kGemmThreads = 256;
constexpr int kGemmBlocks = 2;  // on a multiprocessor at once; aiming at more, ptxas spills the sums
constexpr int kGemmPerThread = 4;
constexpr int kGemmSide = kGemmTile / kGemmPerThread;  // threads along one side of a tile

// Each below 2³¹, which the launcher checks, so that indices are 32 bits; offsets are not.
struct GemmShape {
  int m, n, k;
  int slice;  // of k per slice
};

// What a thread copies of an operand into each tile: four numbers, neighbouring threads neighbours in memory.
template <class Operand>
struct TileCopy {
  static constexpr int kLines = Operand::kAlongLines ? 1 : 4, kDepths = Operand::kAlongLines ? 4 : 1;
  typename Operand::Line lines[kLines];
  bool inside[kLines];

  __device__ static int place(int l) {
    const int thread = static_cast<int>(threadIdx.x);
    return Operand::kAlongLines ? thread % kGemmTile : thread / kGemmDepth + l * (kGemmThreads / kGemmDepth);
  }
  __device__ TileCopy(const Operand& operand, int first, int count) {
#pragma unroll
    for (int l = 0; l < kLines; l++) {
      inside[l] = first + place(l) < count;
      lines[l] = operand.line(inside[l] ? first + place(l) : 0);
    }
  }
  // Zeros outside the matrix.
  __device__ void load(const Operand& operand, int k0, int end, float (&tile)[kGemmDepth][kGemmTile + 4]) const {
    const int thread = static_cast<int>(threadIdx.x);
#pragma unroll
    for (int d = 0; d < kDepths; d++) {
      const int k = Operand::kAlongLines ? thread / kGemmTile + d * (kGemmThreads / kGemmTile) : thread % kGemmDepth;
      const bool within = k0 + k < end;
      const typename Operand::Depth depth = operand.depth(within ? k0 + k : k0);
#pragma unroll
      for (int l = 0; l < kLines; l++) {
        const typename Operand::Element* element = within && inside[l] ? operand.at(lines[l], depth) : nullptr;
        tile[k][place(l)] = element ? toFloat(*element) : 0.0f;
      }
    }
  }
};

// Adds `sums` to `totals` and begins them anew.
__device__ __forceinline__ void flush(float (&totals)[kGemmPerThread][kGemmPerThread],
                                      float (&sums)[kGemmPerThread][kGemmPerThread]) {
#pragma unroll
  for (int i = 0; i < kGemmPerThread; i++)
#pragma unroll
    for (int j = 0; j < kGemmPerThread; j++) {
      totals[i][j] += sums[i][j];
      sums[i][j] = 0;
    }
}

template <class A, class B>
__global__ void __launch_bounds__(kGemmThreads, kGemmBlocks)
    gemmKernel(GemmShape s, A a, B b, float* c, Epilogue<float> finish) {
  STEPSIZE_SHARED(float, tileA, [kGemmDepth][kGemmTile + 4]);
  STEPSIZE_SHARED(float, tileB, [kGemmDepth][kGemmTile + 4]);
  const int tilesN = (s.n - 1) / kGemmTile + 1;
  const int row0 = static_cast<int>(blockIdx.x) / tilesN * kGemmTile;
  const int column0 = static_cast<int>(blockIdx.x) % tilesN * kGemmTile;
  const int begin = static_cast<int>(blockIdx.y) * s.slice, end = begin + min(s.slice, s.k - begin);
  const int thread = static_cast<int>(threadIdx.x);
  const int row = thread / kGemmSide * kGemmPerThread, column = thread % kGemmSide * kGemmPerThread;
  // The sum of all k, and that of the last few tiles: a long sum in one accumulator would lose digits to its own size.
  float totals[kGemmPerThread][kGemmPerThread] = {}, sums[kGemmPerThread][kGemmPerThread] = {};
  const TileCopy<A> copyA(a, row0, s.m);
  const TileCopy<B> copyB(b, column0, s.n);
  for (int k0 = begin; k0 < end; k0 += kGemmDepth) {
    copyA.load(a, k0, end, tileA);
    copyB.load(b, k0, end, tileB);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kGemmDepth; k++)
#pragma unroll
      for (int i = 0; i < kGemmPerThread; i++)
#pragma unroll
        for (int j = 0; j < kGemmPerThread; j++) sums[i][j] = fmaf(tileA[k][row + i], tileB[k][column + j], sums[i][j]);
    if ((k0 - begin) / kGemmDepth % kGemmFlush == kGemmFlush - 1) flush(totals, sums);
    __syncthreads();
  }
  flush(totals, sums);
#pragma unroll
  for (int i = 0; i < kGemmPerThread; i++)
#pragma unroll
    for (int j = 0; j < kGemmPerThread; j++)
      if (row0 + row + i < s.m && column0 + column + j < s.n) {
        const int64_t at = static_cast<int64_t>(blockIdx.y) * s.m + row0 + row + i;
        c[at * s.n + column0 + column + j] = finish(totals[i][j], row0 + row + i, column0 + column + j);
      }
}

template <class C>
__global__ void __launch_bounds__(kGemmThreads)
    addSlicesKernel(const float* slices, C* c, int64_t count, int slots, Epilogue<C> finish) {
  forGrid<kGemmThreads>(count, [&](int64_t i) {
    float sum = 0;
    for (int s = 0; s < slots; s++) sum += slices[s * count + i];
    c[i] = castElement<C>(finish(sum, i / finish.columns, static_cast<int>(i % finish.columns)));
  });
}

// Operands in memory: lines one after another, each with its depths side by side.
template <class T>
struct DenseLines {
  static constexpr bool kAlongLines = false;
  using Element = T;
  using Line = const T*;
  using Depth = int;
  const T* data;
  int64_t stride;
  __device__ Line line(int index) const { return data + index * stride; }
  __device__ Depth depth(int k) const { return k; }
  __device__ const T* at(Line line, Depth k) const { return line + k; }
  __host__ int64_t neighbours() const { return stride; }
};
// The same operand with its lines as depths: a matrix that is stored transposed, windows as columns.
template <class Operand>
struct Transposed {
  static constexpr bool kAlongLines = !Operand::kAlongLines;
  using Element = typename Operand::Element;
  using Line = typename Operand::Depth;
  using Depth = typename Operand::Line;
  Operand operand;
  const Element* data = operand.data;
  __host__ int64_t neighbours() const { return operand.neighbours(); }
  __device__ Line line(int index) const { return operand.depth(index); }
  __device__ Depth depth(int k) const { return operand.line(k); }
  __device__ const Element* at(const Line& line, const Depth& depth) const { return operand.at(depth, line); }
};

}  // namespace stepsize::cuda
