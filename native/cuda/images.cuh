// Turns raw images into the input of a model in one pass: out = raw·factor + offset per channel, shifted and mirrored.
// A thread writes 16 bytes at a time: four float32 or eight bfloat16. Of uint8 images it reads one byte per element. It
// works out the position of the first element, and walks from there to the next ones.
//
// Instructions on sm_90: 12 per element and 35 per pixel, which is 24 per element of three channels, and 50 for the
// first position. They are more than 3 bytes hide, but the images of a batch are few bytes.
#pragma once

#include "divider.h"
#include "grid_loops.cuh"

namespace stepsize::cuda {

// The shape of one image.
struct ImageShape {
  Divider height, width, channels;
};

// The offset of an image's window, and whether it is mirrored. Raw values outside the image are zero.
struct Move {
  int down, across, mirrored;
};

// The position of an element.
struct ImagePosition {
  int image, y, x, channel;

  __device__ ImagePosition(const ImageShape& s, int element) {
    const int pixel = s.channels.quotient(element), row = s.width.quotient(pixel);
    image = s.height.quotient(row);
    y = row - image * s.height.divisor;
    x = pixel - row * s.width.divisor;
    channel = element - pixel * s.channels.divisor;
  }
  // Moves to the next element. Returns whether it is in another pixel.
  __device__ bool advance(const ImageShape& s) {
    if (++channel < s.channels.divisor) return false;
    channel = 0;
    if (++x < s.width.divisor) return true;
    x = 0;
    if (++y < s.height.divisor) return true;
    y = 0;
    image++;
    return true;
  }
  // The raw pixel that this one is made from; null if it is outside of the image.
  template <class Raw>
  __device__ const Raw* source(const Raw* raw, const Move* moves, const ImageShape& s) const {
    int row = y, column = x;
    if (moves) {
      const Move move = moves[image];
      row += move.down;
      column = (move.mirrored ? s.width.divisor - 1 - x : x) + move.across;
      if (row < 0 || row >= s.height.divisor || column < 0 || column >= s.width.divisor) return nullptr;
    }
    return raw + static_cast<int64_t>((image * s.height.divisor + row) * s.width.divisor + column) * s.channels.divisor;
  }
};

// `moves` may be null; the images may then have any shape with channels last.
template <class Raw, class T>
__global__ void __launch_bounds__(kElementThreads)
    normalizeImagesKernel(const Raw* raw, const float* factor, const float* offset, const Move* moves, T* out,
                          int64_t count, ImageShape s) {
  forElements<kGroup<T>>(count, isAligned16(out), [&](int64_t i, auto elements) {
    constexpr int n = decltype(elements)::kCount;
    ImagePosition at(s, static_cast<int>(i));
    const Raw* from = at.source(raw, moves, s);
    float x[n];
#pragma unroll
    for (int e = 0; e < n; e++) {
      x[e] = offset[at.channel];
      if (from) x[e] += static_cast<float>(from[at.channel]) * factor[at.channel];
      if (e + 1 < n && at.advance(s)) from = at.source(raw, moves, s);
    }
    storeAligned(out + i, x);
  });
}

}  // namespace stepsize::cuda
