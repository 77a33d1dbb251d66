// Maximum and average over square windows, NHWC, and their gradients. A thread computes one result, in the gradients
// too: it gathers from the windows that contain an element, in order, and needs no atomics. If there are whole groups
// of four channels, a thread takes four neighbouring channels (Width 4), and neighbouring threads take neighbouring
// groups.
//
// Each element of the images and of the results is read or written once, 4 bytes in float32, and each index of a
// maximum takes 4 bytes more. Values that windows share are read from the cache.
#pragma once

#include "grid_loops.cuh"
#include "report_fault.cuh"

namespace stepsize::cuda {

constexpr int kPoolThreads = 256;
constexpr int kPoolBlocks = 4;  // blocks per multiprocessor; if more are requested, ptxas spills

// The sizes and attributes of a pooling operation.
struct PoolShape {
  int count;  // results of the kernel, or groups of results
  int height, width, channels, outHeight, outWidth, size, stride, padding;
};

// A position in images [·, height, width, channels].
struct Place {
  int64_t image;
  int y, x, c;
};

// The position of the i-th element or group of channels.
template <int Width>
__device__ __forceinline__ Place placeOf(int i, int height, int width, int channels) {
  Place place;
  place.c = i % (channels / Width) * Width;
  i /= channels / Width;
  place.x = i % width;
  i /= width;
  place.y = i % height;
  place.image = i / height;
  return place;
}

// Calls f(i) for this thread's results.
template <class F>
__device__ __forceinline__ void forResults(const PoolShape& s, const F& f) {
  forGrid<kPoolThreads>(s.count, [&](int64_t i) { f(static_cast<int>(i)); });
}

// Calls f(position in the image, offset of the value) over the window of an output.
template <class F>
__device__ __forceinline__ void forWindow(const PoolShape& s, const Place& out, const F& f) {
  const int top = out.y * s.stride - s.padding, left = out.x * s.stride - s.padding;
  for (int y = max(0, top); y < min(s.height, top + s.size); y++)
    for (int x = max(0, left); x < min(s.width, left + s.size); x++) {
      const int position = y * s.width + x;
      f(position, (out.image * s.height * s.width + position) * s.channels + out.c);
    }
}

// Calls f(offset of the output) over the outputs whose windows contain a position, in order.
template <class F>
__device__ __forceinline__ void forWindowsOf(const PoolShape& s, const Place& in, const F& f) {
  const auto first = [&](int at) { return at + s.padding < s.size ? 0 : (at + s.padding - s.size) / s.stride + 1; };
  const auto last = [&](int at, int outputs) { return min(outputs - 1, (at + s.padding) / s.stride); };
  for (int y = first(in.y); y <= last(in.y, s.outHeight); y++)
    for (int x = first(in.x); x <= last(in.x, s.outWidth); x++)
      f(((in.image * s.outHeight + y) * s.outWidth + x) * s.channels + in.c);
}

// Load and store Width neighbouring channels.
template <int Width, class T>
__device__ __forceinline__ void loadChannels(const T* from, float (&x)[Width]) {
  if constexpr (Width == 4)
    loadAligned(from, x);
  else
    x[0] = toFloat(*from);
}
template <int Width, class T>
__device__ __forceinline__ void storeChannels(T* to, const float (&x)[Width]) {
  if constexpr (Width == 4)
    storeGroup(to, true, 4, x);
  else
    *to = castElement<T>(x[0]);
}
// The indices of Width neighbouring maxima.
template <int Width>
struct alignas(4 * Width) Indices {
  int32_t value[Width];
};

// values = the maximum of each window, indices = its position in the image. A NaN counts as a maximum.
template <int Width, class T>
__global__ void __launch_bounds__(kPoolThreads, kPoolBlocks)
    maxPoolKernel(const T* images, T* values, int32_t* indices, PoolShape s) {
  forResults(s, [&](int i) {
    float largest[Width] = {};
    Indices<Width> where;
#pragma unroll
    for (int e = 0; e < Width; e++) where.value[e] = -1;
    forWindow(s, placeOf<Width>(i, s.outHeight, s.outWidth, s.channels), [&](int position, int64_t at) {
      float x[Width];
      loadChannels(images + at, x);
#pragma unroll
      for (int e = 0; e < Width; e++)
        if (where.value[e] < 0 || x[e] > largest[e] || x[e] != x[e]) {
          largest[e] = x[e];
          where.value[e] = position;
        }
    });
    storeChannels(values + static_cast<int64_t>(i) * Width, largest);
    reinterpret_cast<Indices<Width>*>(indices)[i] = where;
  });
}

// images[i] = Σ gradient over the windows whose maximum is at i.
template <int Width, class T>
__global__ void __launch_bounds__(kPoolThreads, kPoolBlocks)
    maxPoolGradientKernel(const T* gradient, const int32_t* indices, T* images, PoolShape s, FaultReport faults) {
  forResults(s, [&](int i) {
    const Place place = placeOf<Width>(i, s.height, s.width, s.channels);
    const int own = place.y * s.width + place.x;
    float sums[Width] = {};
    forWindowsOf(s, place, [&](int64_t at) {
      float g[Width];
      loadChannels(gradient + at, g);
      const auto where = *reinterpret_cast<const Indices<Width>*>(indices + at);
#pragma unroll
      for (int e = 0; e < Width; e++) {
        const int position = where.value[e];
        if (position == own) sums[e] += g[e];
        // Every window contains a position of the image, so every index is checked.
        if (position < 0 || position >= s.height * s.width)
          report(faults, FaultKind::index, position, place.image, s.height * s.width);
      }
    });
    storeChannels(images + static_cast<int64_t>(i) * Width, sums);
  });
}

// values = scale · Σ of each window.
template <int Width, class T>
__global__ void __launch_bounds__(kPoolThreads, kPoolBlocks)
    averagePoolKernel(const T* images, T* values, PoolShape s, float scale) {
  forResults(s, [&](int i) {
    float sums[Width] = {};
    forWindow(s, placeOf<Width>(i, s.outHeight, s.outWidth, s.channels), [&](int, int64_t at) {
      float x[Width];
      loadChannels(images + at, x);
#pragma unroll
      for (int e = 0; e < Width; e++) sums[e] += x[e] * scale;
    });
    storeChannels(values + static_cast<int64_t>(i) * Width, sums);
  });
}

// images[i] = scale · Σ gradient over the windows that contain i.
template <int Width, class T>
__global__ void __launch_bounds__(kPoolThreads, kPoolBlocks)
    averagePoolGradientKernel(const T* gradient, T* images, PoolShape s, float scale) {
  forResults(s, [&](int i) {
    float sums[Width] = {};
    forWindowsOf(s, placeOf<Width>(i, s.height, s.width, s.channels), [&](int64_t at) {
      float g[Width];
      loadChannels(gradient + at, g);
#pragma unroll
      for (int e = 0; e < Width; e++) sums[e] += g[e] * scale;
    });
    storeChannels(images + static_cast<int64_t>(i) * Width, sums);
  });
}

}  // namespace stepsize::cuda
