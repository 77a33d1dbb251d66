// The matrix product of the CUDA backend in float32: C[m,n] = A[m,k] · B[k,n], one tile of 64 × 64 per block.
//
// Operands come through loaders, so that a dense product and the three convolutions are one kernel:
//
//   A    float at(row, k)          zero outside the matrix
//   B    float at(k, column)
//   C    void put(row, column, value), called inside the matrix only
//
// Each thread keeps 4 × 4 sums; the tiles of A and B meet in shared memory 16 deep, 0.5 bytes from memory per
// multiply-add. For a small C and a long k the depth is cut into slices of a fixed length (gridDim.y), whose sums are
// added in order by addSlicesKernel. No tensor cores: float32 has none that keep its precision.
#pragma once

#include "platform.cuh"

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

template <class A, class B, class C>
__global__ void __launch_bounds__(kGemmThreads, kGemmBlocks) gemmKernel(GemmShape s, A a, B b, C c) {
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
  for (int k0 = begin; k0 < end; k0 += kGemmDepth) {
    for (int i = thread; i < kGemmTile * kGemmDepth; i += kGemmThreads) {
      // Along what lies side by side in memory: k for a row-major A, columns for a row-major B.
      const int kA = A::kMajor ? i / kGemmTile : i % kGemmDepth, rowA = A::kMajor ? i % kGemmTile : i / kGemmDepth;
      tileA[kA][rowA] = row0 + rowA < s.m && k0 + kA < end ? a.at(row0 + rowA, k0 + kA) : 0.0f;
      const int kB = B::kMajor ? i / kGemmTile : i % kGemmDepth, columnB = B::kMajor ? i % kGemmTile : i / kGemmDepth;
      tileB[kB][columnB] = column0 + columnB < s.n && k0 + kB < end ? b.at(k0 + kB, column0 + columnB) : 0.0f;
    }
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
      if (row0 + row + i < s.m && column0 + column + j < s.n)
        c.put(static_cast<int64_t>(blockIdx.y) * s.m + row0 + row + i, column0 + column + j, totals[i][j]);
}

// C, row-major with n columns. Slices lie one after another.
struct DenseResult {
  float* data;
  int64_t columns;
  __device__ void put(int64_t row, int column, float value) const { data[row * columns + column] = value; }
};

__global__ void __launch_bounds__(kGemmThreads)
    addSlicesKernel(const float* slices, float* c, int64_t count, int slots) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kGemmThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kGemmThreads + threadIdx.x; i < count; i += step) {
    float sum = 0;
    for (int s = 0; s < slots; s++) sum += slices[s * count + i];
    c[i] = sum;
  }
}

// Operands in memory. kMajor: elements of equal k lie side by side.
struct DenseRows {  // A [m,k]
  static constexpr bool kMajor = false;
  const float* data;
  int64_t stride;
  __device__ float at(int row, int k) const { return data[row * stride + k]; }
};
struct DenseRowsTransposed {  // A stored [k,m]
  static constexpr bool kMajor = true;
  const float* data;
  int64_t stride;
  __device__ float at(int row, int k) const { return data[k * stride + row]; }
};
struct DenseColumns {  // B [k,n]
  static constexpr bool kMajor = true;
  const float* data;
  int64_t stride;
  __device__ float at(int k, int column) const { return data[k * stride + column]; }
};
struct DenseColumnsTransposed {  // B stored [n,k]
  static constexpr bool kMajor = false;
  const float* data;
  int64_t stride;
  __device__ float at(int k, int column) const { return data[column * stride + k]; }
};

}  // namespace stepsize::cuda
