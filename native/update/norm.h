// How the gradient's norm is summed: √Σ g², in one order on every device, so that clipping gives the same bits.
//
// A chunk of kNormChunk elements has kNormLanes sums; element i belongs to lane i mod kNormLanes, and a lane adds its
// squares in order, each by one fused multiply-add. Four neighbouring lanes make one value, as (a + b) + (c + d): 256
// values, one per CUDA thread. These fold by 16, 8, 4, 2, 1 within each 32, then the eight warps by 4, 2, 1. The
// chunks' sums go the same way: value t adds those of chunks t, t + 256, … in order, and the 256 values fold.
#pragma once

namespace stepsize::update {

constexpr int kNormValues = 256;
constexpr int kNormLanes = 4 * kNormValues;
constexpr int kNormChunk = 1 << 14;

// On a CPU; on CUDA blockSum (cuda/block_reduce.cuh) does it. Overwrites the values.
inline __attribute__((always_inline)) float foldNormValues(float* values) {
  constexpr int warp = 32, warps = kNormValues / warp;
  float sums[warps];
  for (int w = 0; w < warps; w++) {
    float* lanes = values + w * warp;
    for (int distance = warp / 2; distance > 0; distance /= 2)
      for (int i = 0; i < distance; i++) lanes[i] += lanes[i + distance];
    sums[w] = lanes[0];
  }
  for (int distance = warps / 2; distance > 0; distance /= 2)
    for (int i = 0; i < distance; i++) sums[i] += sums[i + distance];
  return sums[0];
}

}  // namespace stepsize::update
