// Maximum and average over square windows, NHWC. One task computes one image: the gradients scatter only inside an
// image, so they need no atomics and have a fixed order.
#pragma once

#include "../../fault_texts.h"
#include "../../operations_attributes.h"
#include "vector.h"

namespace stepsize::STEPSIZE_ISA {

// The shapes and attributes of a pooling operation.
struct Pool {
  int64_t height, width, channels, outHeight, outWidth, size, stride, padding;

  Pool(const Invocation& call, const Shape& image, const Shape& pooled)
      : height(image[1]),
        width(image[2]),
        channels(image[3]),
        outHeight(pooled[1]),
        outWidth(pooled[2]),
        size(call.integer(attribute::averagePool2d::size)),
        stride(call.integer(attribute::averagePool2d::stride)),
        padding(call.integer(attribute::averagePool2d::padding)) {}

  // Calls f(output offset, position) for each position of each window that lies inside the image.
  template <class F>
  STEPSIZE_INLINE void forWindows(const F& f) const {
    for (int64_t y = 0; y < outHeight; y++)
      for (int64_t x = 0; x < outWidth; x++) {
        const int64_t top = y * stride - padding, left = x * stride - padding;
        for (int64_t i = most(0, top); i < least(height, top + size); i++)
          for (int64_t j = most(0, left); j < least(width, left + size); j++)
            f((y * outWidth + x) * channels, i * width + j);
      }
  }
  STEPSIZE_INLINE int64_t imageSize() const { return height * width * channels; }
  STEPSIZE_INLINE int64_t pooledSize() const { return outHeight * outWidth * channels; }
};

inline void maxPool2d(const Invocation& call) {
  const TensorView& x = call.input(0);
  const Pool pool(call, x.shape, call.output(0).shape);
  parallelFor(call, x.shape[0], [&](int64_t n) {
    const float* image = x.floats() + n * pool.imageSize();
    float* values = call.output(0).floats() + n * pool.pooledSize();
    int32_t* indices = call.output(1).as<int32_t>() + n * pool.pooledSize();
    for (int64_t i = 0; i < pool.pooledSize(); i++) indices[i] = -1;
    pool.forWindows([&](int64_t out, int64_t position) {
      for (int64_t c = 0; c < pool.channels; c++) {
        const float value = image[position * pool.channels + c];
        if (indices[out + c] >= 0 && !(value > values[out + c] || value != value)) continue;
        values[out + c] = value;
        indices[out + c] = static_cast<int32_t>(position);
      }
    });
  });
}

inline void maxPool2dGradient(const Invocation& call) {
  const TensorView& g = call.input(0);
  const TensorView& out = call.output(0);
  const Pool pool(call, out.shape, g.shape);
  parallelFor(call, g.shape[0], [&](int64_t n) {
    const float* gradient = g.floats() + n * pool.pooledSize();
    const int32_t* indices = call.input(1).as<int32_t>() + n * pool.pooledSize();
    float* image = out.floats() + n * pool.imageSize();
    zeroFloats(image, pool.imageSize());
    for (int64_t i = 0; i < pool.pooledSize(); i++) {
      const int32_t position = indices[i];
      if (position < 0 || position >= pool.height * pool.width)
        return call.fail(fault::kIndex, position, n, pool.height * pool.width);
      image[position * pool.channels + i % pool.channels] += gradient[i];
    }
  });
}

// Padding counts as zeros in the average, the default of PyTorch.
inline void averagePool2d(const Invocation& call) {
  const TensorView& x = call.input(0);
  const Pool pool(call, x.shape, call.output(0).shape);
  const float scale = 1.0f / static_cast<float>(pool.size * pool.size);
  parallelFor(call, x.shape[0], [&](int64_t n) {
    const float* image = x.floats() + n * pool.imageSize();
    float* values = call.output(0).floats() + n * pool.pooledSize();
    zeroFloats(values, pool.pooledSize());
    pool.forWindows([&](int64_t out, int64_t position) {
      for (int64_t c = 0; c < pool.channels; c++) values[out + c] += image[position * pool.channels + c] * scale;
    });
  });
}

inline void averagePool2dGradient(const Invocation& call) {
  const TensorView& g = call.input(0);
  const TensorView& out = call.output(0);
  const Pool pool(call, out.shape, g.shape);
  const float scale = 1.0f / static_cast<float>(pool.size * pool.size);
  parallelFor(call, g.shape[0], [&](int64_t n) {
    const float* gradient = g.floats() + n * pool.pooledSize();
    float* image = out.floats() + n * pool.imageSize();
    zeroFloats(image, pool.imageSize());
    pool.forWindows([&](int64_t at, int64_t position) {
      for (int64_t c = 0; c < pool.channels; c++) image[position * pool.channels + c] += gradient[at + c] * scale;
    });
  });
}

}  // namespace stepsize::STEPSIZE_ISA
