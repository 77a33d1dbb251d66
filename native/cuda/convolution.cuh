// The operands that turn a convolution into a matrix product (gemm.cuh). Images are NHWC and weights OHWI. Windows are
// gathered as they are copied, so there is no im2col buffer.
//
//   forward          A[pixel of the output, (dy, dx, channel)]       B = weightsᵀ
//   input gradient   A[pixel of the input, (ty, tx, output)]         B[(ty, tx, output), channel]
//   weight gradient  A = gradientᵀ [output, pixel of the output]     B[pixel of the output, (dy, dx, channel)]
//
// With a stride s, the gradient of an input pixel has terms only for every s-th row and column of the kernel. Which
// ones depends on the pixel's position modulo s. The input gradient is therefore one product for each of the s² phases:
// the pixels of a phase, as windows of stride 1 over the incoming gradient, by the taps of the kernel that meet them.
// Nothing is multiplied by a zero of a dilated gradient. A phase without taps is filled with zeros.
//
// Images of at most four channels are multiplied as images of half the width, whose eight channels are those of two
// neighbouring pixels, if the stride and the width are even (PixelPairs). Windows then begin at the same pixel of a
// pair. The first layer of a ResNet, 7 × 7 pixels of three channels, is 7 · 4 · 8 = 224 deep, where pixels that are
// padded to eight channels would make it 392. Predicted for 512 images of 224 × 224 on an H200: 0.3 ms less for the
// result, and 0.4 ms less for the gradient of the weights.
//
// Divisions of a position into its parts cost three instructions each (divider.h). A chunk of windows takes about 8
// instructions, and each thread 25 more per stage for the tap. If pixels are the depth, a chunk takes about 23.
#pragma once

#include "divider.h"
#include "gemm_operands.cuh"

namespace stepsize::cuda {

// A grid of windows over images, one window for each position. Windows reach beyond the images.
struct WindowShape {
  int height, width, channels;  // of the images
  Divider gridHeight, gridWidth;
  int strideY, strideX, originY, originX;  // of the grid, in pixels
  Divider windowWidth, byChannels;

  WindowShape(int imageHeight, int imageWidth, int imageChannels, int rows, int columns, int step, int firstY,
              int firstX, int widthOfWindow)
      : height(imageHeight),
        width(imageWidth),
        channels(imageChannels),
        gridHeight(rows),
        gridWidth(columns),
        strideY(step),
        strideX(step),
        originY(firstY),
        originX(firstX),
        windowWidth(widthOfWindow),
        byChannels(imageChannels) {}
};

// A window: its image, and the image's pixel at its upper left corner.
struct Window {
  int image, y, x;
  __device__ Window(const WindowShape& s, int index) {
    const int row = s.gridWidth.quotient(index);
    image = s.gridHeight.quotient(row);
    y = (row - image * s.gridHeight.divisor) * s.strideY + s.originY;
    x = (index - row * s.gridWidth.divisor) * s.strideX + s.originX;
  }
};

// A position in a window and a channel, from (dy·width + dx)·channels + c.
struct Tap {
  int dy, dx, c;
  __device__ Tap(const WindowShape& s, int index) {
    const int place = s.byChannels.quotient(index);
    c = index - place * s.channels;
    dy = s.windowWidth.quotient(place);
    dx = place - dy * s.windowWidth.divisor;
  }
};

// Whether the pixel at a position exists.
__device__ __forceinline__ bool isInImage(const WindowShape& s, int y, int x) {
  return static_cast<unsigned>(y) < static_cast<unsigned>(s.height) &&
         static_cast<unsigned>(x) < static_cast<unsigned>(s.width);
}

// The values of images in windows.
template <class T>
struct ImageWindows {
  static constexpr bool kAlongLines = false;
  using Element = T;
  const T* data;
  WindowShape shape;
  unsigned pixelBytes;

  ImageWindows(const T* images, const WindowShape& windows)
      : data(images), shape(windows), pixelBytes(static_cast<unsigned>(windows.channels) * sizeof(T)) {}
};

// The element `count` times `bytes` after another one. Rows are fewer than 2³¹, elements may be more. If the launcher
// computes the bytes of a row, this is one instruction, a multiply-add with a sum of 64 bits.
template <class T>
__device__ __forceinline__ const T* after(const T* from, int count, unsigned bytes) {
  return reinterpret_cast<const T*>(reinterpret_cast<const char*>(from) +
                                    uint64_t{static_cast<unsigned>(count)} * bytes);
}

// A thread copies the same tap of several windows. It keeps the index of a corner's pixel, which may lie outside.
template <class T, class Chunks>
class Walk<ImageWindows<T>, Chunks> {
  const ImageWindows<T>& windows;
  int corner[Chunks::kCopies], y[Chunks::kCopies], x[Chunks::kCopies];
  int dy, dx, pixel;
  const T* channel;

 public:
  __device__ Walk(const ImageWindows<T>& operand, int first, int count, int) : windows(operand) {
#pragma unroll
    for (int i = 0; i < Chunks::kCopies; i++) {
      const Window window(windows.shape, Chunks::lineIn(first, count, i));
      corner[i] = (window.image * windows.shape.height + window.y) * windows.shape.width + window.x;
      y[i] = window.y;
      x[i] = window.x;
    }
  }
  __device__ void advance(int k) {
    const Tap tap(windows.shape, k + Chunks::depth(0));
    dy = tap.dy;
    dx = tap.dx;
    pixel = dy * windows.shape.width + dx;
    channel = windows.data + tap.c;
  }
  __device__ Source<T> at(int copy, int) const {
    return {after(channel, corner[copy] + pixel, windows.pixelBytes),
            isInImage(windows.shape, y[copy] + dy, x[copy] + dx)};
  }
};

// A thread copies the same tap of other windows in each stage: of those whose upper left corner, the window that reads
// the tap from (0, 0), is moved by the tap.
template <class T, class Chunks>
class Walk<Transposed<ImageWindows<T>>, Chunks> {
  WindowShape shape;
  unsigned pixelBytes;
  const T* channel;

 public:
  __device__ Walk(const Transposed<ImageWindows<T>>& operand, int first, int count, int)
      : shape(operand.operand.shape), pixelBytes(operand.operand.pixelBytes) {
    const Tap tap(shape, Chunks::lineIn(first, count, 0));
    shape.originY += tap.dy;
    shape.originX += tap.dx;
    channel = operand.operand.data + tap.c;
  }
  __device__ void advance(int) {}
  __device__ Source<T> at(int copy, int k) const {
    const Window window(shape, k + Chunks::depth(copy));
    return {after(channel, (window.image * shape.height + window.y) * shape.width + window.x, pixelBytes),
            isInImage(shape, window.y, window.x)};
  }
};

// The image rows (or columns) p, p + stride, … meet the same taps of a kernel: those for which p + padding − tap is a
// multiple of the stride. In order of falling taps they meet consecutive rows of the gradient; `origin` is the first
// one for the first of these image rows.
struct Phase {
  int lastTap = 0, taps = 0, origin = 0, length = 0;
  Phase(int p, int imageLength, int kernel, int stride, int padding) {
    if (imageLength > p) length = (imageLength - p - 1) / stride + 1;
    const int firstTap = (p + padding) % stride;
    if (firstTap >= kernel) return;
    taps = (kernel - 1 - firstTap) / stride + 1;
    lastTap = firstTap + (taps - 1) * stride;
    origin = (p + padding - lastTap) / stride;
  }
};

// B of the input gradient: row (ty, tx, output) has the weights at a tap of the phase, in order of falling taps.
template <class T>
struct PhaseWeights {
  static constexpr bool kAlongLines = true;
  using Element = T;
  const T* data;
  int kernelHeight, kernelWidth;
  unsigned rowBytes;
  int stride, lastY, lastX;
  Divider outputs, tapsX;
  // The weights of all channels in row k.
  __device__ const T* row(int k) const {
    const int place = outputs.quotient(k), output = k - place * outputs.divisor, ty = tapsX.quotient(place);
    const int dy = lastY - ty * stride, dx = lastX - (place - ty * tapsX.divisor) * stride;
    return after(data, (output * kernelHeight + dy) * kernelWidth + dx, rowBytes);
  }
};

template <class T, class Chunks>
class Walk<PhaseWeights<T>, Chunks> {
  const PhaseWeights<T>& weights;
  int channel;

 public:
  __device__ Walk(const PhaseWeights<T>& operand, int first, int count, int)
      : weights(operand), channel(Chunks::lineIn(first, count, 0)) {}
  __device__ void advance(int) {}
  __device__ Source<T> at(int copy, int k) const { return {weights.row(k + Chunks::depth(copy)) + channel, true}; }
};

// C of the input gradient: the pixels of a phase.
template <class T>
struct PhasePixels {
  using Element = T;
  T* data;
  int height, width, channels, stride, phaseY, phaseX;
  Divider gridHeight, gridWidth;
  __device__ T* row(int index) const {
    const int line = gridWidth.quotient(index), image = gridHeight.quotient(line);
    const int y = (line - image * gridHeight.divisor) * stride + phaseY;
    const int x = (index - line * gridWidth.divisor) * stride + phaseX;
    return data + static_cast<int64_t>((image * height + y) * width + x) * channels;
  }
};

}  // namespace stepsize::cuda
