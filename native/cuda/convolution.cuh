// The gathers that make a convolution a matrix product (gemm.cuh): images NHWC, weights OHWI, no buffer between.
//
//   forward          A[pixel of the output, (dy, dx, channel)]       B = weightsᵀ
//   input gradient   A[pixel of the input, (dy, dx, output)]         B[(dy, dx, output), channel]
//   weight gradient  A = gradientᵀ [output, pixel of the output]     B[pixel of the output, (dy, dx, channel)]
#pragma once

#include "platform.cuh"

namespace stepsize::cuda {

struct ConvolutionShape {
  int height, width, channels, outHeight, outWidth, outputs, kernelHeight, kernelWidth, stride, padding;
};

// Where a pixel of images of some height and width lies.
struct Pixel {
  int64_t image;
  int y, x;
  __device__ Pixel(int index, int height, int width)
      : image(index / width / height), y(index / width % height), x(index % width) {}
};

// A place in a kernel and a channel, from (dy·width + dx)·channels + c.
struct Tap {
  int dy, dx, c;
  __device__ Tap(int index, int kernelWidth, int channels)
      : dy(index / channels / kernelWidth), dx(index / channels % kernelWidth), c(index % channels) {}
};

// What a window over the images sees: zero in the padding.
__device__ __forceinline__ float imageAt(const float* images, const ConvolutionShape& s, int pixel, int tap) {
  const Pixel out(pixel, s.outHeight, s.outWidth);
  const Tap at(tap, s.kernelWidth, s.channels);
  const int y = out.y * s.stride - s.padding + at.dy, x = out.x * s.stride - s.padding + at.dx;
  if (y < 0 || y >= s.height || x < 0 || x >= s.width) return 0.0f;
  return images[((out.image * s.height + y) * s.width + x) * s.channels + at.c];
}

struct ImageWindows {  // A of the forward pass
  static constexpr bool kMajor = false;
  const float* images;
  ConvolutionShape shape;
  __device__ float at(int row, int k) const { return imageAt(images, shape, row, k); }
};

struct ImageWindowColumns {  // B of the weight gradient
  static constexpr bool kMajor = true;
  const float* images;
  ConvolutionShape shape;
  __device__ float at(int k, int column) const { return imageAt(images, shape, k, column); }
};

// A of the input gradient: the gradients of the outputs whose windows hold an input pixel.
struct GradientWindows {
  static constexpr bool kMajor = false;
  const float* gradient;
  ConvolutionShape shape;
  __device__ float at(int row, int k) const {
    const ConvolutionShape& s = shape;
    const Pixel in(row, s.height, s.width);
    const Tap tap(k, s.kernelWidth, s.outputs);
    const int y = in.y + s.padding - tap.dy, x = in.x + s.padding - tap.dx;
    if (y < 0 || x < 0 || y % s.stride != 0 || x % s.stride != 0) return 0.0f;
    const int outY = y / s.stride, outX = x / s.stride;
    if (outY >= s.outHeight || outX >= s.outWidth) return 0.0f;
    return gradient[((in.image * s.outHeight + outY) * s.outWidth + outX) * s.outputs + tap.c];
  }
};

struct WeightsByOutput {  // B of the input gradient
  static constexpr bool kMajor = true;
  const float* weights;
  ConvolutionShape shape;
  __device__ float at(int k, int channel) const {
    const Tap tap(k, shape.kernelWidth, shape.outputs);
    const int64_t place = (static_cast<int64_t>(tap.c) * shape.kernelHeight + tap.dy) * shape.kernelWidth + tap.dx;
    return weights[place * shape.channels + channel];
  }
};

}  // namespace stepsize::cuda
