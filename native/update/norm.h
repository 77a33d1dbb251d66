// The order in which the norm of the gradient, √Σ g², is summed. Every device uses this order, so that clipping gives
// the same bits.
//
// A chunk of kNormChunk elements has kNormLanes sums. Element i belongs to lane i mod kNormLanes. A lane adds its
// squares in order, each with one fused multiply-add. Four neighbouring lanes a, b, c, d make one value, (a + b) + (c +
// d). This gives 256 values, one per CUDA thread. They are folded by 16, 8, 4, 2, 1 within each group of 32, and the
// eight results by 4, 2, 1. The sums of the chunks are added in the same way in float64: value t adds chunks t, t +
// 256, … in order, and the 256 values are folded.
//
// A chunk is summed in float32. Squares overflow from 1.8e19 on and lose digits below 1e-19, which shows in the sum: if
// it is outside [kLeastSum, infinity), the chunk is summed again in the same order, with each element multiplied by a
// power of two first. The norm is therefore right for every finite gradient, and an ordinary chunk is read once.
#pragma once

#include "../host_device.h"

namespace stepsize::update {

constexpr int kNormValues = 256;
constexpr int kNormLanes = 4 * kNormValues;
constexpr int kNormChunk = 1 << 14;

// The least sum that is taken as it is. The square of a denormal result is wrong by at most 2^-150, and the errors of
// all squares of a chunk together are then at most 2^-36 of the sum.
constexpr float kLeastSum = 0x1p-100f;

// The factor of each element when a chunk is summed again, or 1 if `sum` is right. `hasValues` says whether any element
// is not zero; it matters only for a small sum.
STEPSIZE_HOST_DEVICE float normScale(float sum, bool hasValues) {
  if (sum >= kLeastSum && sum <= 0x1.fffffep+127f) return 1;
  // The squares then lie in [2^-98, 2^100].
  if (sum < kLeastSum) return hasValues ? 0x1p+100f : 1.0f;
  // The largest square is then 2^96. Squares that underflow are negligible beside one of 2^-48 or more.
  return 0x1p-80f;
}

// The sum of the squares without the scale.
STEPSIZE_HOST_DEVICE double unscaledSum(float sum, float scale) {
  const double exact = scale;
  return sum / (exact * exact);
}

// Folds kNormValues values on a CPU and overwrites them. On CUDA blockSum (cuda/block_reduce.cuh) adds in the same
// order.
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
