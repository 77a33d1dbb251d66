// How the gradient's norm is summed: √Σ g², in one order on every device, so that clipping gives the same bits.
//
// A chunk of kNormChunk elements has kNormLanes sums; element i belongs to lane i mod kNormLanes, and a lane adds its
// squares in order, each by one fused multiply-add. Four neighbouring lanes make one value, as (a + b) + (c + d): 256
// values, one per CUDA thread. These fold by 16, 8, 4, 2, 1 within each 32, then the eight warps by 4, 2, 1. The
// chunks' sums go the same way in float64: value t adds those of chunks t, t + 256, … in order, and the 256 values
// fold.
//
// A chunk is summed in float32, whose squares overflow from 1.8e19 on and lose digits below 1e-19. Its plain sum tells:
// if it is outside of [kLeastSum, infinity), the chunk is summed once more in the same order, each element multiplied
// by a power of two first. So the norm is right for every finite gradient, and an ordinary chunk is read once.
#pragma once

#include "../host_device.h"

namespace stepsize::update {

constexpr int kNormValues = 256;
constexpr int kNormLanes = 4 * kNormValues;
constexpr int kNormChunk = 1 << 14;

// A square that is denormal is wrong by at most 2^-150: of a sum from here on, all of a chunk's together are 2^-36.
constexpr float kLeastSum = 0x1p-100f;

// What each element of a chunk is multiplied by before it is summed again, or 1 if its plain sum is right. `hasValues`:
// whether any element is not zero, which only matters for a small sum.
STEPSIZE_HOST_DEVICE float normScale(float sum, bool hasValues) {
  if (sum >= kLeastSum && sum <= 0x1.fffffep+127f) return 1;
  if (sum < kLeastSum) return hasValues ? 0x1p+100f : 1.0f;  // the squares lie in [2^-98, 2^100]
  return 0x1p-80f;  // the largest square is 2^96; what underflows is lost beside one of 2^-48 or more
}

// The sum of the squares themselves.
STEPSIZE_HOST_DEVICE double unscaledSum(float sum, float scale) {
  const double exact = scale;
  return sum / (exact * exact);
}

// On a CPU; on CUDA blockSum (cuda/block_reduce.cuh) does it. Overwrites the values.
template <class T>
inline __attribute__((always_inline)) T foldNormValues(T* values) {
  constexpr int warp = 32, warps = kNormValues / warp;
  T sums[warps];
  for (int w = 0; w < warps; w++) {
    T* lanes = values + w * warp;
    for (int distance = warp / 2; distance > 0; distance /= 2)
      for (int i = 0; i < distance; i++) lanes[i] += lanes[i + distance];
    sums[w] = lanes[0];
  }
  for (int distance = warps / 2; distance > 0; distance /= 2)
    for (int i = 0; i < distance; i++) sums[i] += sums[i + distance];
  return sums[0];
}

}  // namespace stepsize::update
