// Maximum and average over square windows, NHWC. A thread per result, also of the gradients: it gathers from the
// windows that an element lies in, in order, and needs no atomics. Neighbouring threads take neighbouring channels.
#pragma once

#include "../element_types.h"
#include "grid_loop.cuh"
#include "report_fault.cuh"

namespace stepsize::cuda {

constexpr int kPoolThreads = 256;

struct PoolShape {
  int count;  // results of the kernel
  int height, width, channels, outHeight, outWidth, size, stride, padding;
};

// A position in images [·, height, width, channels].
struct Place {
  int64_t image;
  int y, x, c;
};

__device__ __forceinline__ Place placeOf(int i, int height, int width, int channels) {
  Place place;
  place.c = i % channels;
  i /= channels;
  place.x = i % width;
  i /= width;
  place.y = i % height;
  place.image = i / height;
  return place;
}

template <class F>
__device__ __forceinline__ void forResults(const PoolShape& s, const F& f) {
  forGrid<kPoolThreads>(s.count, [&](int64_t i) { f(static_cast<int>(i)); });
}

// Calls f(position inside the image, offset of its value) over the window of an output.
template <class F>
__device__ __forceinline__ void forWindow(const PoolShape& s, const Place& out, const F& f) {
  const int top = out.y * s.stride - s.padding, left = out.x * s.stride - s.padding;
  for (int y = max(0, top); y < min(s.height, top + s.size); y++)
    for (int x = max(0, left); x < min(s.width, left + s.size); x++) {
      const int position = y * s.width + x;
      f(position, (out.image * s.height * s.width + position) * s.channels + out.c);
    }
}

// Calls f(offset of the output) over the outputs whose windows hold a position, in their order.
template <class F>
__device__ __forceinline__ void forWindowsOf(const PoolShape& s, const Place& in, const F& f) {
  const auto first = [&](int at) { return at + s.padding < s.size ? 0 : (at + s.padding - s.size) / s.stride + 1; };
  const auto last = [&](int at, int outputs) { return min(outputs - 1, (at + s.padding) / s.stride); };
  for (int y = first(in.y); y <= last(in.y, s.outHeight); y++)
    for (int x = first(in.x); x <= last(in.x, s.outWidth); x++)
      f(((in.image * s.outHeight + y) * s.outWidth + x) * s.channels + in.c);
}

template <class T>
__global__ void __launch_bounds__(kPoolThreads)
    maxPoolKernel(const T* images, T* values, int32_t* indices, PoolShape s) {
  forResults(s, [&](int i) {
    float largest = 0;
    int where = -1;
    forWindow(s, placeOf(i, s.outHeight, s.outWidth, s.channels), [&](int position, int64_t at) {
      const float value = toFloat(images[at]);
      if (where >= 0 && !(value > largest || value != value)) return;
      largest = value;
      where = position;
    });
    values[i] = castElement<T>(largest);
    indices[i] = where;
  });
}

template <class T>
__global__ void __launch_bounds__(kPoolThreads)
    maxPoolGradientKernel(const T* gradient, const int32_t* indices, T* images, PoolShape s, FaultReport faults) {
  forResults(s, [&](int i) {
    const Place place = placeOf(i, s.height, s.width, s.channels);
    const int own = place.y * s.width + place.x;
    float sum = 0;
    forWindowsOf(s, place, [&](int64_t at) {
      const int position = indices[at];
      if (position == own) sum += toFloat(gradient[at]);
      // Every window holds a position of the image, so that none goes unseen.
      if (position < 0 || position >= s.height * s.width)
        report(faults, FaultKind::index, position, place.image, s.height * s.width);
    });
    images[i] = castElement<T>(sum);
  });
}

template <class T>
__global__ void __launch_bounds__(kPoolThreads)
    averagePoolKernel(const T* images, T* values, PoolShape s, float scale) {
  forResults(s, [&](int i) {
    float sum = 0;
    forWindow(s, placeOf(i, s.outHeight, s.outWidth, s.channels),
              [&](int, int64_t at) { sum += toFloat(images[at]) * scale; });
    values[i] = castElement<T>(sum);
  });
}

template <class T>
__global__ void __launch_bounds__(kPoolThreads)
    averagePoolGradientKernel(const T* gradient, T* images, PoolShape s, float scale) {
  forResults(s, [&](int i) {
    float sum = 0;
    forWindowsOf(s, placeOf(i, s.height, s.width, s.channels),
                 [&](int64_t at) { sum += toFloat(gradient[at]) * scale; });
    images[i] = castElement<T>(sum);
  });
}

}  // namespace stepsize::cuda
