// Turns raw images into the input of a model in one pass: out = raw·factor + offset per channel, shifted and mirrored.
// A thread takes four elements at a time. Of uint8 images it reads one byte per element; it writes four bytes, or two
// in bfloat16. The position of an element takes four 32-bit divisions, which are hidden by the memory accesses.
#pragma once

#include "grid_loops.cuh"

namespace stepsize::cuda {

// The shape of one image.
struct ImageShape {
  int height, width, channels;
};

// The offset of an image's window, and whether it is mirrored. Raw values outside the image are zero.
struct Move {
  int down, across, mirrored;
};

// `moves` may be null; the images may then have any shape with channels last.
template <class Raw, class T>
__global__ void __launch_bounds__(kFoursThreads)
    normalizeImagesKernel(const Raw* raw, const float* factor, const float* offset, const Move* moves, T* out,
                          int64_t count, ImageShape s) {
  const auto valueAt = [&](int64_t i) {
    const int element = static_cast<int>(i), c = element % s.channels;
    int64_t from = i;
    if (moves) {
      const int pixel = element / s.channels, row = pixel / s.width, image = row / s.height;
      const Move move = moves[image];
      const int x = pixel % s.width, y = row % s.height + move.down;
      const int column = (move.mirrored ? s.width - 1 - x : x) + move.across;
      const bool inside = y >= 0 && y < s.height && column >= 0 && column < s.width;
      from = inside ? ((static_cast<int64_t>(image) * s.height + y) * s.width + column) * s.channels + c : -1;
    }
    return from < 0 ? offset[c] : static_cast<float>(raw[from]) * factor[c] + offset[c];
  };
  const bool aligned = isAligned16(out);
  forFours(count, [&](int64_t i, int elements) {
    float x[4] = {};
#pragma unroll
    for (int j = 0; j < 4; j++)
      if (j < elements) x[j] = valueAt(i + j);
    storeGroup(out + i, aligned, elements, x);
  });
}

}  // namespace stepsize::cuda
