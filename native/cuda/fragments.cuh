// Fragments of mma from tiles in shared memory, and from sums of an mma before. A tile is seen as lines, rows of the
// first operand or columns of the second, and depths, along which products are summed: chunk(line, depth) is the
// address of the eight elements that hold one, neighbours in memory along lines where kAlongLines, else along depths.
#pragma once

#include "tensor_core.cuh"
#include "vector_access.cuh"

namespace stepsize::cuda {

// Four blocks of 8 × 8 from `line` and `depth` on: lines first, then depths, as the first operand takes them, or the
// other way, as the second does.
template <bool LinesFirst, class Tile>
__device__ __forceinline__ void loadFragments(const Tile& tile, int line, int depth, uint32_t (&r)[4]) {
  constexpr bool alongLines = Tile::kAlongLines;
  const int lane = static_cast<int>(threadIdx.x) % 32, within = lane % 8, block = lane / 8;
  const int first = block % 2 * 8, second = block / 2 * 8;
  line += LinesFirst ? first : second;
  depth += LinesFirst ? second : first;
  // The rows that a lane names are rows of memory, which lie the other way where lines are neighbours.
  loadMatrices<alongLines>(r, alongLines ? tile.chunk(line, depth + within) : tile.chunk(line + within, depth));
}

// C += A·B for A of 16 lines and B of 16, two fragments of eight.
__device__ __forceinline__ void multiplyAdd(float (&c0)[4], float (&c1)[4], const uint32_t (&a)[4],
                                            const uint32_t (&b)[4]) {
  const uint32_t lower[2] = {b[0], b[1]}, upper[2] = {b[2], b[3]};
  multiplyAdd(c0, a, lower);
  multiplyAdd(c1, a, upper);
}

__device__ __forceinline__ uint32_t roundedPair(float lower, float upper) {
  return asWord(toBFloat16(lower), toBFloat16(upper));
}

// Sums of 16 × 16, rounded, as the first operand of another product.
__device__ __forceinline__ void asFirstOperand(const float (&sums)[2][4], uint32_t (&a)[4]) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    a[2 * half] = roundedPair(sums[half][0], sums[half][1]);
    a[2 * half + 1] = roundedPair(sums[half][2], sums[half][3]);
  }
}

}  // namespace stepsize::cuda
