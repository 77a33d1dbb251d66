// The operands that turn a convolution into a matrix product (gemm.cuh). Images are NHWC and weights OHWI. Windows are
// gathered as they are copied, so there is no im2col buffer.
//
//   forward          A[pixel of the output, (dy, dx, channel)]       B = weightsᵀ
//   input gradient   A[pixel of the input, (dy, dx, output)]         B[(dy, dx, output), channel]
//   weight gradient  A = gradientᵀ [output, pixel of the output]     B[pixel of the output, (dy, dx, channel)]
#pragma once

#include "platform.cuh"

namespace stepsize::cuda {

// The sizes of images, kernel and result.
struct ConvolutionShape {
  int height, width, channels, outHeight, outWidth, outputs, kernelHeight, kernelWidth, stride, padding;
};

// The position of a pixel.
struct Pixel {
  int64_t image;
  int y, x;
};
__device__ __forceinline__ Pixel pixelAt(int index, int height, int width) {
  const int row = index / width;
  return {row / height, row % height, index % width};
}

// A position in a kernel and a channel, from (dy·width + dx)·channels + c.
struct Tap {
  int dy, dx, c;
};
__device__ __forceinline__ Tap tapAt(int index, int kernelWidth, int channels) {
  const int place = index / channels;
  return {place / kernelWidth, place % kernelWidth, index % channels};
}

// The image values in the window of an output pixel.
template <class T>
struct ImageWindows {  // A of the forward pass; transposed, B of the weight gradient
  static constexpr bool kAlongLines = false;
  using Element = T;
  using Line = Pixel;
  using Depth = Tap;
  const T* data;
  ConvolutionShape shape;
  __host__ int64_t neighbours() const { return shape.channels; }
  __device__ Line line(int index) const { return pixelAt(index, shape.outHeight, shape.outWidth); }
  __device__ Depth depth(int k) const { return tapAt(k, shape.kernelWidth, shape.channels); }
  __device__ const T* at(const Pixel& out, const Tap& tap) const {
    const ConvolutionShape& s = shape;
    const int y = out.y * s.stride - s.padding + tap.dy, x = out.x * s.stride - s.padding + tap.dx;
    if (y < 0 || y >= s.height || x < 0 || x >= s.width) return nullptr;
    return data + ((out.image * s.height + y) * s.width + x) * s.channels + tap.c;
  }
};

// A of the input gradient: the gradients of the outputs whose windows contain an input pixel.
template <class T>
struct GradientWindows {
  static constexpr bool kAlongLines = false;
  using Element = T;
  using Line = Pixel;
  using Depth = Tap;
  const T* data;
  ConvolutionShape shape;
  __host__ int64_t neighbours() const { return shape.outputs; }
  __device__ Line line(int index) const { return pixelAt(index, shape.height, shape.width); }
  __device__ Depth depth(int k) const { return tapAt(k, shape.kernelWidth, shape.outputs); }
  __device__ const T* at(const Pixel& in, const Tap& tap) const {
    const ConvolutionShape& s = shape;
    const int y = in.y + s.padding - tap.dy, x = in.x + s.padding - tap.dx;
    if (y < 0 || x < 0 || y % s.stride != 0 || x % s.stride != 0) return nullptr;
    const int outY = y / s.stride, outX = x / s.stride;
    if (outY >= s.outHeight || outX >= s.outWidth) return nullptr;
    return data + ((in.image * s.outHeight + outY) * s.outWidth + outX) * s.outputs + tap.c;
  }
};

template <class T>
struct WeightsByOutput {  // B of the input gradient
  static constexpr bool kAlongLines = true;
  using Element = T;
  using Line = int;
  using Depth = const T*;
  const T* data;
  ConvolutionShape shape;
  __host__ int64_t neighbours() const { return shape.channels; }
  __device__ Line line(int channel) const { return channel; }
  __device__ Depth depth(int k) const {
    const Tap tap = tapAt(k, shape.kernelWidth, shape.outputs);
    const int64_t place = (static_cast<int64_t>(tap.c) * shape.kernelHeight + tap.dy) * shape.kernelWidth + tap.dx;
    return data + place * shape.channels;
  }
  __device__ const T* at(Line channel, Depth row) const { return row + channel; }
};

}  // namespace stepsize::cuda
