// Fills memory, converts between element types, and writes rows of ring buffers.
#pragma once

#include "../element_types.h"
#include "grid_loops.cuh"

namespace stepsize::cuda {

// Filling and converting take four elements per thread at a time. Each element is read once and written once, in the
// bytes of its type.

// to[i] = value.
template <class T>
__global__ void __launch_bounds__(kFoursThreads) fillKernel(T* to, int64_t count, T value) {
  const bool aligned = isAligned16(to);
  const Four<T> values{{value, value, value, value}};
  forFours(count, [&](int64_t i, int elements) { storeStored(to + i, aligned, elements, values); });
}

// to[i] = from[i], converted.
template <class To, class From>
__global__ void __launch_bounds__(kFoursThreads) castKernel(To* to, const From* from, int64_t count) {
  const bool aligned = isAligned16(to) && isAligned16(from);
  forFours(count, [&](int64_t i, int elements) {
    const Four<From> x = loadStored(from + i, aligned, elements);
    Four<To> y;
#pragma unroll
    for (int j = 0; j < 4; j++) y.value[j] = castElement<To>(x.value[j]);
    storeStored(to + i, aligned, elements, y);
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
