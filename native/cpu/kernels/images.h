// Turns raw images into the input of a model in one pass: shifts, mirrors, and normalises per channel.
#pragma once

#include "../../operations_attributes.h"
#include "vector.h"

namespace stepsize::STEPSIZE_ISA {

// to = raw·factor + offset for consecutive pixels.
template <class T>
STEPSIZE_INLINE void normalizePixels(const T* raw, const float* factor, const float* offset, float* to, int64_t pixels,
                                     int64_t channels) {
  for (int64_t p = 0; p < pixels; p++)
    for (int64_t c = 0; c < channels; c++)
      to[p * channels + c] = static_cast<float>(raw[p * channels + c]) * factor[c] + offset[c];
}

// Pixel (y, x) comes from raw pixel (y + down, x + across), or (y + down, width − 1 − x + across) if mirrored; raw
// values outside the image are zero.
template <class T>
STEPSIZE_INLINE void normalizeMoved(const Invocation& call) {
  const TensorView& images = call.input(0);
  const float *factor = call.input(1).floats(), *offset = call.input(2).floats();
  const int64_t height = images.shape[1], width = images.shape[2], channels = images.shape[3];
  const auto* moves = call.input(3).as<const int32_t>();
  const T* raw = images.as<const T>();
  float* out = call.output(0).floats();
  parallelFor(call, images.shape[0], [&](int64_t image) {
    const int64_t down = moves[image * 3], across = moves[image * 3 + 1];
    const bool mirrored = moves[image * 3 + 2] != 0;
    for (int64_t y = 0; y < height; y++)
      for (int64_t x = 0; x < width; x++) {
        const int64_t fromY = y + down, fromX = (mirrored ? width - 1 - x : x) + across;
        float* to = out + ((image * height + y) * width + x) * channels;
        if (fromY >= 0 && fromY < height && fromX >= 0 && fromX < width)
          normalizePixels(raw + ((image * height + fromY) * width + fromX) * channels, factor, offset, to, 1, channels);
        else
          copyFloats(to, offset, channels);
      }
  });
}

template <class T>
STEPSIZE_INLINE void normalizeUnmoved(const Invocation& call) {
  const TensorView& images = call.input(0);
  const int64_t channels = images.shape[images.shape.rank - 1];
  if (channels == 0) return;
  const T* raw = images.as<const T>();
  const float *factor = call.input(1).floats(), *offset = call.input(2).floats();
  float* out = call.output(0).floats();
  parallelChunks(call, images.elements() / channels, most(1, kChunk / channels), [&](int64_t from, int64_t to) {
    normalizePixels(raw + from * channels, factor, offset, out + from * channels, to - from, channels);
  });
}

inline void normalizeImages(const Invocation& call) {
  const bool moved = call.inputs > 3;
  if (call.input(0).type == DataType::uint8)
    (moved ? normalizeMoved<uint8_t> : normalizeUnmoved<uint8_t>)(call);
  else
    (moved ? normalizeMoved<float> : normalizeUnmoved<float>)(call);
}

}  // namespace stepsize::STEPSIZE_ISA
