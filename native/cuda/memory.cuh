// Fills memory, converts between element types, and writes rows of ring buffers.
#pragma once

#include "../element_types.h"
#include "grid_loops.cuh"

namespace stepsize::cuda {

// Filling and converting move 16 bytes of the smaller type at a time, but at most eight elements. Each element is read
// once and written once, in the bytes of its type.

// to[i] = value.
template <class T>
__global__ void __launch_bounds__(kElementThreads) fillKernel(T* to, int64_t count, T value) {
  forElements<kGroup<T>>(count, isAligned16(to), [&](int64_t i, auto elements) {
    using Numbers = Stored<T, decltype(elements)::kCount>;
    Numbers values;
    for (T& element : values.value) element = value;
    *reinterpret_cast<Numbers*>(to + i) = values;
  });
}

// to[i] = from[i], converted.
template <class To, class From>
__global__ void __launch_bounds__(kElementThreads) castKernel(To* to, const From* from, int64_t count) {
  forElements<kGroup<To, From>>(count, areAligned(to, from), [&](int64_t i, auto elements) {
    constexpr int n = decltype(elements)::kCount;
    const auto x = *reinterpret_cast<const Stored<From, n>*>(from + i);
    if constexpr (isBFloat16<To> && !isBFloat16<From>) {
      float y[n];
#pragma unroll
      for (int j = 0; j < n; j++) y[j] = static_cast<float>(x.value[j]);
      storeAligned(to + i, y);
    } else {
      Stored<To, n> y;
#pragma unroll
      for (int j = 0; j < n; j++) y.value[j] = castElement<To>(x.value[j]);
      *reinterpret_cast<Stored<To, n>*>(to + i) = y;
    }
  });
}

// Writes to a ring of rows that the host reads now and then: ring[count mod rows][column + i] = values[i]. After the
// last values of a row, count grows by one.
//
// One block does this, because a row has only a few numbers. For each it reads one value and writes 8 bytes. Every
// launch reads count itself, so a replay writes the next row.

constexpr int kRingThreads = 32;

template <class T>
__global__ void __launch_bounds__(kRingThreads)
    writeRowKernel(double* ring, int rows, int64_t columns, uint32_t* count, int column, const T* values,
                   int64_t valueCount, bool last) {
  const uint32_t at = *count;
  double* row = ring + at % static_cast<unsigned>(rows) * columns + column;
  for (int64_t i = threadIdx.x; i < valueCount; i += kRingThreads) row[i] = castElement<double>(values[i]);
  // All threads have read count.
  __syncthreads();
  if (last && threadIdx.x == 0) *count = at + 1;
}

}  // namespace stepsize::cuda
