// Loads mma fragments from tiles in shared memory, and makes them from the sums of an earlier mma. A tile consists of
// lines (rows of the first operand or columns of the second) and depths (the index that is summed over). chunk(line,
// depth) is the address of the eight elements that contain this one. These eight are neighbours along lines if
// kAlongLines is set, otherwise along depths.
#pragma once

#include "tensor_core.cuh"
#include "vector_access.cuh"

namespace stepsize::cuda {

// Loads four blocks of 8 × 8 from `line` and `depth` on. They are ordered lines first, as the first operand needs them,
// or depths first, as the second does.
template <bool LinesFirst, class Tile>
__device__ __forceinline__ void loadFragments(const Tile& tile, int line, int depth, uint32_t (&r)[4]) {
  constexpr bool alongLines = Tile::kAlongLines;
  const int lane = static_cast<int>(threadIdx.x) % 32, within = lane % 8, block = lane / 8;
  const int first = block % 2 * 8, second = block / 2 * 8;
  line += LinesFirst ? first : second;
  depth += LinesFirst ? second : first;
  // The row that a lane addresses is a row of memory. If lines are neighbours in memory, it is a row of the transposed
  // matrix.
  loadMatrices<alongLines>(r, alongLines ? tile.chunk(line, depth + within) : tile.chunk(line + within, depth));
}

// C += A·B for A with 16 lines and B with 16 lines, which are two fragments of eight.
__device__ __forceinline__ void multiplyAdd(float (&c0)[4], float (&c1)[4], const uint32_t (&a)[4],
                                            const uint32_t (&b)[4]) {
  const uint32_t lower[2] = {b[0], b[1]}, upper[2] = {b[2], b[3]};
  multiplyAdd(c0, a, lower);
  multiplyAdd(c1, a, upper);
}

// Two numbers as bfloat16 in one word.
__device__ __forceinline__ uint32_t roundedPair(float lower, float upper) {
  return asWord(toBFloat16(lower), toBFloat16(upper));
}

// Rounds 16 × 16 sums and makes them the first operand of another product.
__device__ __forceinline__ void asFirstOperand(const float (&sums)[2][4], uint32_t (&a)[4]) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    a[2 * half] = roundedPair(sums[half][0], sums[half][1]);
    a[2 * half + 1] = roundedPair(sums[half][2], sums[half][3]);
  }
}

}  // namespace stepsize::cuda
