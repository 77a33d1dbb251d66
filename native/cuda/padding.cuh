// Copies of matrices whose rows are whole chunks of 16 bytes, which products can copy asynchronously (gemm_stages.cuh).
// Rows of other lengths, such as 50,257 numbers of a vocabulary or the 3 channels of an image, are copied once before
// the product. This moves each element twice, at the speed of memory: 60 instructions per chunk, among them eight
// loads, which do not wait for each other, and one store. The loader of the product would need at least 14 instructions
// and 6 narrow loads for each chunk, and it would repeat them for every tile in a row of C. While the product runs, the
// copy takes as much memory as the operand.
#pragma once

#include "divider.h"
#include "gemm_stages.cuh"
#include "vector_access.cuh"

namespace stepsize::cuda {

constexpr int kPaddingThreads = 256;

// The elements of a row that is extended to whole chunks.
template <class T>
constexpr int64_t paddedLength(int64_t columns) {
  return (columns + kChunk<T> - 1) / kChunk<T> * kChunk<T>;
}

// Copies rows of `columns` elements that are `stride` apart, and continues them with zeros to `chunks` chunks. Rows
// from `rows` on are zeros. A thread writes a chunk at a time. Its loads do not depend on each other.
template <class T>
__global__ void __launch_bounds__(kPaddingThreads)
    padRowsKernel(T* to, const T* from, int rows, int columns, int paddedRows, Divider chunks) {
  const int64_t count = static_cast<int64_t>(paddedRows) * chunks.divisor;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kPaddingThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kPaddingThreads + threadIdx.x; i < count; i += step) {
    const int row = chunks.quotient(static_cast<int>(i));
    const int column = (static_cast<int>(i) - row * chunks.divisor) * kChunk<T>;
    const T* source = from + static_cast<int64_t>(row) * columns + column;
    T x[kChunk<T>];
#pragma unroll
    for (int e = 0; e < kChunk<T>; e++) x[e] = row < rows && column + e < columns ? source[e] : T{0};
    storeAligned(to + i * kChunk<T>, x);
  }
}

// Rows of pixels as pairs. A chunk has two neighbouring pixels of four channels, of which the missing ones are zeros.
// `left` pixels of zeros, none or one, precede the first pixel of a row.
struct PixelPairs {
  static constexpr int kChannels = 4;
  int width, channels, left;

  __host__ __device__ int pairs() const { return (left + width + 1) / 2; }
};

// Copies rows of pixels as pairs. A thread writes a pair at a time.
template <class T>
__global__ void __launch_bounds__(kPaddingThreads)
    pairPixelsKernel(T* to, const T* from, int rows, PixelPairs pixels, Divider pairs) {
  static_assert(kChunk<T> == 2 * PixelPairs::kChannels);
  const int64_t count = static_cast<int64_t>(rows) * pairs.divisor;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kPaddingThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kPaddingThreads + threadIdx.x; i < count; i += step) {
    const int row = pairs.quotient(static_cast<int>(i));
    const int first = (static_cast<int>(i) - row * pairs.divisor) * 2 - pixels.left;
    const int64_t source = (static_cast<int64_t>(row) * pixels.width + first) * pixels.channels;
    T x[kChunk<T>];
#pragma unroll
    for (int e = 0; e < kChunk<T>; e++) {
      const int pixel = e / PixelPairs::kChannels, channel = e % PixelPairs::kChannels;
      const bool isInside =
          channel < pixels.channels && static_cast<unsigned>(first + pixel) < static_cast<unsigned>(pixels.width);
      x[e] = isInside ? from[source + pixel * pixels.channels + channel] : T{0};
    }
    storeAligned(to + i * kChunk<T>, x);
  }
}

// Copies rows of pixels back from pairs. They are the gradient of weights, which are few.
template <class T>
__global__ void __launch_bounds__(kPaddingThreads)
    unpairPixelsKernel(T* to, const T* from, int count, PixelPairs pixels, Divider channels, Divider width) {
  const int step = static_cast<int>(gridDim.x) * kPaddingThreads;
  for (int i = static_cast<int>(blockIdx.x) * kPaddingThreads + static_cast<int>(threadIdx.x); i < count; i += step) {
    const int pixel = channels.quotient(i), row = width.quotient(pixel);
    const int64_t place = int64_t{row} * 2 * pixels.pairs() + pixels.left + pixel - row * width.divisor;
    to[i] = from[place * PixelPairs::kChannels + i - pixel * channels.divisor];
  }
}

// Copies rows of `columns` elements without what follows them up to the next row, `stride` elements after the first. A
// thread writes 16 bytes at a time, of one row or several.
template <class T>
__global__ void __launch_bounds__(kPaddingThreads)
    unpadRowsKernel(T* to, const T* from, int64_t count, Divider columns, int stride) {
  const bool aligned = isAligned16(to);
  const int64_t step = static_cast<int64_t>(gridDim.x) * kPaddingThreads * kChunk<T>;
  for (int64_t i = (static_cast<int64_t>(blockIdx.x) * kPaddingThreads + threadIdx.x) * kChunk<T>; i < count;
       i += step) {
    int row = columns.quotient(static_cast<int>(i)), column = static_cast<int>(i) - row * columns.divisor;
    T x[kChunk<T>];
#pragma unroll
    for (int e = 0; e < kChunk<T>; e++) {
      x[e] = i + e < count ? from[static_cast<int64_t>(row) * stride + column] : T{0};
      if (++column == columns.divisor) {
        column = 0;
        row++;
      }
    }
    if (aligned && i + kChunk<T> <= count) {
      storeAligned(to + i, x);
    } else {
      for (int e = 0; e < kChunk<T> && i + e < count; e++) to[i + e] = x[e];
    }
  }
}

}  // namespace stepsize::cuda
