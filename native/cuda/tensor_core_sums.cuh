// The sums of a matrix product in bfloat16 (gemm.cuh), on tensor cores. Each warp keeps a part of the tile of C as mma
// fragments of 16 rows by 8 columns.
#pragma once

#include "fragments.cuh"
#include "gemm_stages.cuh"

namespace stepsize::cuda {

template <class A, class B, class Tile>
struct TensorCoreSums {
  static constexpr int kFragmentsA = Tile::kLinesA / 16, kFragmentsB = Tile::kLinesB / 8;
  float sums[kFragmentsA][kFragmentsB][4] = {};

  // Adds the product of a stage. lineA and lineB are the first lines of the warp.
  __device__ void multiply(const StageTile<A, Tile::kLines>& a, int lineA, const StageTile<B, Tile::kLines>& b,
                           int lineB) {
#pragma unroll
    for (int k = 0; k < kStageDepth<BFloat16>; k += 16) {
      uint32_t fragmentsA[kFragmentsA][4], fragmentsB[kFragmentsB / 2][4];
#pragma unroll
      for (int i = 0; i < kFragmentsA; i++) loadFragments<true>(a, lineA + i * 16, k, fragmentsA[i]);
#pragma unroll
      for (int j = 0; j < kFragmentsB / 2; j++) loadFragments<false>(b, lineB + j * 16, k, fragmentsB[j]);
#pragma unroll
      for (int i = 0; i < kFragmentsA; i++)
#pragma unroll
        for (int j = 0; j < kFragmentsB; j += 2)
          multiplyAdd(sums[i][j], sums[i][j + 1], fragmentsA[i], fragmentsB[j / 2]);
    }
  }

  // Stores the sums at the addresses at(row, column). An even column and the next one must be neighbours there.
  template <class At>
  __device__ void store(int lineA, int lineB, const At& at) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int i = 0; i < kFragmentsA; i++)
#pragma unroll
      for (int j = 0; j < kFragmentsB; j++)
#pragma unroll
        for (int half = 0; half < 2; half++)
          *reinterpret_cast<float2*>(at(lineA + i * 16 + half * 8 + lane / 4, lineB + j * 8 + lane % 4 * 2)) =
              make_float2(sums[i][j][half * 2], sums[i][j][half * 2 + 1]);
  }
};

}  // namespace stepsize::cuda
