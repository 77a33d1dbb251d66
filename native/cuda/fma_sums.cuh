// The sums of a matrix product in float32 (gemm.cuh), by fused multiply-adds: tensor cores have no operation of this
// precision. Each thread has 4 × 8 sums of its warp's part of the tile of C. That is 32 multiply-adds for 12 numbers
// from shared memory, which the lanes of a row or column share.
#pragma once

#include "gemm_stages.cuh"
#include "vector_access.cuh"

namespace stepsize::cuda {

template <class A, class B, class Tile>
struct FmaSums {
  static constexpr int kLanesA = 8, kLanesB = 4;  // lanes of a warp along the rows and columns of C
  static constexpr int kSumsA = Tile::kLinesA / kLanesA, kSumsB = Tile::kLinesB / kLanesB;
  // A long sum in one accumulator would lose low digits. After this many stages, the sums are added to the totals.
  static constexpr int kStagesTogether = 16;
  float totals[kSumsA][kSumsB] = {}, sums[kSumsA][kSumsB] = {};
  int stages = 0;

  // The i-th line of a lane. If lines are neighbours in memory, a lane has chunks of lines, so that the lanes read
  // adjacent chunks.
  template <class Operand, int Lanes>
  __device__ static int line(int lane, int i) {
    return Operand::kAlongLines ? i / 4 * 4 * Lanes + lane * 4 + i % 4 : i * Lanes + lane;
  }
  __device__ static int rowOf(int i) { return line<A, kLanesA>(static_cast<int>(threadIdx.x) % 32 / kLanesB, i); }
  __device__ static int columnOf(int j) { return line<B, kLanesB>(static_cast<int>(threadIdx.x) % kLanesB, j); }

  // Adds the product of a stage. lineA and lineB are the first lines of the warp. Each sum adds its depths in order.
  __device__ void multiply(const StageTile<A, Tile::kLines>& a, int lineA, const StageTile<B, Tile::kLines>& b,
                           int lineB) {
    // The loop takes two depths at a time and is not unrolled. Otherwise ptxas keeps more addresses and numbers than
    // there are registers.
#pragma unroll 1
    for (int k = 0; k < kStageDepth<float>; k += 2) {
      float ofA[kSumsA][2];
      loadPairs(a, lineA, k, ofA);
      if constexpr (B::kAlongLines) {
#pragma unroll
        for (int d = 0; d < 2; d++)
#pragma unroll
          for (int j = 0; j < kSumsB; j += 4) {
            float ofB[4];
            loadAligned(b.chunk(lineB + columnOf(j), k + d), ofB);
#pragma unroll
            for (int i = 0; i < kSumsA; i++)
#pragma unroll
              for (int e = 0; e < 4; e++) sums[i][j + e] = fmaf(ofA[i][d], ofB[e], sums[i][j + e]);
          }
      } else {
#pragma unroll
        for (int j = 0; j < kSumsB; j++) {
          const float2 ofB = *reinterpret_cast<const float2*>(b.chunk(lineB + columnOf(j), k) + k % 4);
#pragma unroll
          for (int i = 0; i < kSumsA; i++) {
            sums[i][j] = fmaf(ofA[i][0], ofB.x, sums[i][j]);
            sums[i][j] = fmaf(ofA[i][1], ofB.y, sums[i][j]);
          }
        }
      }
    }
    if (++stages % kStagesTogether == 0) flush();
  }

  // Loads two depths of the thread's lines of A.
  __device__ static void loadPairs(const StageTile<A, Tile::kLines>& a, int lineA, int k, float (&x)[kSumsA][2]) {
    if constexpr (A::kAlongLines) {
#pragma unroll
      for (int d = 0; d < 2; d++)
#pragma unroll
        for (int i = 0; i < kSumsA; i += 4) {
          float lines[4];
          loadAligned(a.chunk(lineA + rowOf(i), k + d), lines);
#pragma unroll
          for (int e = 0; e < 4; e++) x[i + e][d] = lines[e];
        }
    } else {
#pragma unroll
      for (int i = 0; i < kSumsA; i++) {
        const float2 pair = *reinterpret_cast<const float2*>(a.chunk(lineA + rowOf(i), k) + k % 4);
        x[i][0] = pair.x;
        x[i][1] = pair.y;
      }
    }
  }

  // Adds the sums to the totals and resets them to 0.
  __device__ void flush() {
#pragma unroll
    for (int i = 0; i < kSumsA; i++)
#pragma unroll
      for (int j = 0; j < kSumsB; j++) {
        totals[i][j] += sums[i][j];
        sums[i][j] = 0;
      }
  }

  // Stores the totals at the addresses at(row, column).
  template <class At>
  __device__ void store(int lineA, int lineB, const At& at) {
    flush();
#pragma unroll
    for (int i = 0; i < kSumsA; i++)
#pragma unroll
      for (int j = 0; j < kSumsB; j++) *at(lineA + rowOf(i), lineB + columnOf(j)) = totals[i][j];
  }
};

}  // namespace stepsize::cuda
