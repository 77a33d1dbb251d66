// Convolution and its two gradients, NHWC, as matrix products. Operand A is gathered from the windows of an image, and
// there is no im2col buffer: the rows of a window are contiguous in NHWC, so gathering a window costs one copy per
// image row.
#pragma once

#include "../../operations_attributes.h"
#include "gemm.h"
#include "matmul.h"

namespace stepsize::STEPSIZE_ISA {

// A grid of windows over images [n,height,width,channels], as a matrix. Row i is the window at grid point i; its
// columns are (window row, window column, channel). Elements outside the image are zero.
struct Windows {
  static constexpr bool kMajor = false;
  const float* images;
  int64_t height, width, channels;
  int64_t gridHeight, gridWidth;
  int64_t strideY, strideX, originY, originX;
  int64_t windowHeight, windowWidth;

  STEPSIZE_INLINE int64_t columns() const { return windowHeight * windowWidth * channels; }

  // Copies columns [k0, k0 + depth) of the window at (image, gridY, gridX).
  STEPSIZE_INLINE void gather(int64_t image, int64_t gridY, int64_t gridX, int64_t k0, int64_t depth,
                              float* out) const {
    const int64_t top = gridY * strideY + originY;
    const int64_t left = (gridX * strideX + originX) * channels;
    const int64_t rowLength = windowWidth * channels;
    const float* base = images + image * height * width * channels;
    for (int64_t y = k0 / rowLength; y < windowHeight; y++) {
      const int64_t from = most(0, k0 - y * rowLength);
      const int64_t to = least(rowLength, k0 + depth - y * rowLength);
      if (to <= from) break;
      const int64_t imageY = top + y;
      if (imageY < 0 || imageY >= height) {
        zeroFloats(out, to - from);
      } else {
        const int64_t first = least(to, most(from, -left));
        const int64_t last = most(first, least(to, width * channels - left));
        zeroFloats(out, first - from);
        copyFloats(out + first - from, base + imageY * width * channels + left + first, last - first);
        zeroFloats(out + last - from, to - last);
      }
      out += to - from;
    }
  }

  // Calls f(r, image, gridY, gridX) for `count` consecutive rows from `row` on.
  template <class F>
  STEPSIZE_INLINE void forRows(int64_t row, int64_t count, const F& f) const {
    int64_t gridX = row % gridWidth;
    int64_t gridY = row / gridWidth % gridHeight;
    int64_t image = row / gridWidth / gridHeight;
    for (int64_t r = 0; r < count; r++) {
      f(r, image, gridY, gridX);
      if (++gridX < gridWidth) continue;
      gridX = 0;
      if (++gridY < gridHeight) continue;
      gridY = 0;
      image++;
    }
  }

  // Packs rows as a row-major operand A of gemm.
  STEPSIZE_INLINE void pack(int64_t row, int rows, int64_t k0, int64_t depth, float* out) const {
    forRows(row, rows,
            [&](int64_t r, int64_t image, int64_t y, int64_t x) { gather(image, y, x, k0, depth, out + r * kDepth); });
  }

  // For gemmOverDepth, in which the grid points are the depth: whole windows, one after another.
  STEPSIZE_INLINE const float* rows(int64_t k0, int64_t depth, float* scratch, int64_t& stride) const {
    stride = columns();
    forRows(k0, depth, [&](int64_t r, int64_t image, int64_t y, int64_t x) {
      gather(image, y, x, 0, columns(), scratch + r * columns());
    });
    return scratch;
  }
};

// The windows of a convolution, one for each position of its result.
STEPSIZE_INLINE Windows windowsOf(const Invocation& call, const TensorView& images, const Shape& result,
                                  int64_t kernelHeight, int64_t kernelWidth) {
  const int64_t stride = call.integer(attribute::conv2d::stride), padding = call.integer(attribute::conv2d::padding);
  const Shape& x = images.shape;
  return {images.floats(), x[1],   x[2],     x[3],     result[1],    result[2],
          stride,          stride, -padding, -padding, kernelHeight, kernelWidth};
}

inline void conv2d(const Invocation& call) {
  const TensorView& w = call.input(1);
  const TensorView& out = call.output(0);
  const Windows windows = windowsOf(call, call.input(0), out.shape, w.shape[1], w.shape[2]);
  const int64_t k = windows.columns(), outputs = w.shape[0];
  gemm(call, out.shape.product(0, 3), outputs, k, windows, TransposedPanel{w.floats(), k},
       DenseRows{out.floats(), outputs});
}

// Weights [outputs, kernelHeight, kernelWidth, channels] as operand B of the input gradient. Row (window row, window
// column, output) of the matrix is the kernel's tap that meets this window position.
struct FlippedTaps {
  const float* weights;
  int64_t kernelHeight, kernelWidth, channels, outputs;
  int64_t lastY, lastX, stride;  // the tap at window position 0, and the step between taps
  int64_t windowWidth;

  STEPSIZE_INLINE void pack(int64_t k0, int64_t depth, int64_t column, int64_t columns, int64_t width,
                            float* out) const {
    for (int64_t k = k0; k < k0 + depth; k++, out += width) {
      const int64_t output = k % outputs, position = k / outputs;
      const int64_t y = lastY - position / windowWidth * stride, x = lastX - position % windowWidth * stride;
      copyFloats(out, weights + ((output * kernelHeight + y) * kernelWidth + x) * channels + column, columns);
      for (int64_t j = columns; j < width; j++) out[j] = 0;
    }
  }
};

// The image rows (or columns) p, p + stride, … meet the same taps: those for which p + padding − tap is a multiple of
// the stride. In order of falling taps they meet consecutive gradient rows; `origin` is the first one for the first of
// these image rows.
struct Phase {
  int64_t lastTap, taps, origin, length;
};

STEPSIZE_INLINE Phase phaseOf(int64_t p, int64_t length, int64_t kernel, int64_t stride, int64_t padding) {
  const int64_t firstTap = (p + padding) % stride;
  Phase phase{0, 0, 0, length > p ? ceilDivide(length - p, stride) : 0};
  if (firstTap >= kernel) return phase;
  phase.taps = (kernel - 1 - firstTap) / stride + 1;
  phase.lastTap = firstTap + (phase.taps - 1) * stride;
  phase.origin = (p + padding - phase.lastTap) / stride;
  return phase;
}

// The rows of the input gradient that belong to one phase, as operand C.
struct PhaseRows {
  float* data;
  int64_t height, width, channels, stride, phaseY, phaseX, gridHeight, gridWidth;

  STEPSIZE_INLINE float* row(int64_t i) const {
    const int64_t x = i % gridWidth * stride + phaseX;
    const int64_t y = i / gridWidth % gridHeight * stride + phaseY;
    return data + ((i / gridWidth / gridHeight * height + y) * width + x) * channels;
  }
};

inline void conv2dInputGradient(const Invocation& call) {
  const TensorView& g = call.input(0);
  const TensorView& w = call.input(1);
  const TensorView& out = call.output(0);
  const int64_t stride = call.integer(attribute::conv2d::stride), padding = call.integer(attribute::conv2d::padding);
  const int64_t outputs = w.shape[0], channels = w.shape[3];
  // One product per phase, so that there are no multiplications with the zeros of a dilated gradient. Phases beyond the
  // size of the image have no rows.
  for (int64_t phaseY = 0; phaseY < least(stride, out.shape[1]); phaseY++)
    for (int64_t phaseX = 0; phaseX < least(stride, out.shape[2]); phaseX++) {
      const Phase y = phaseOf(phaseY, out.shape[1], w.shape[1], stride, padding);
      const Phase x = phaseOf(phaseX, out.shape[2], w.shape[2], stride, padding);
      const Windows windows{g.floats(), g.shape[1], g.shape[2], outputs,  y.length, x.length,
                            1,          1,          y.origin,   x.origin, y.taps,   x.taps};
      const FlippedTaps taps{w.floats(), w.shape[1], w.shape[2], channels, outputs,
                             y.lastTap,  x.lastTap,  stride,     x.taps};
      const PhaseRows rows{out.floats(), out.shape[1], out.shape[2], channels, stride,
                           phaseY,       phaseX,       y.length,     x.length};
      gemm(call, out.shape[0] * y.length * x.length, channels, windows.columns(), windows, taps, rows);
    }
}

inline void conv2dWeightGradient(const Invocation& call) {
  const TensorView& g = call.input(1);
  const TensorView& out = call.output(0);
  const Windows windows = windowsOf(call, call.input(0), g.shape, out.shape[1], out.shape[2]);
  const int64_t columns = windows.columns(), outputs = g.shape[3];
  float* gradient = out.floats();
  // The windows are on the long side of the tile, so that they are copied once and the incoming gradient is read in
  // place.
  gemmOverDepth(call, columns, outputs, g.shape.product(0, 3), windows, DensePanel{g.floats(), outputs},
                [=](int64_t i, int64_t j, float value) { gradient[j * columns + i] = value; });
}

}  // namespace stepsize::STEPSIZE_ISA
