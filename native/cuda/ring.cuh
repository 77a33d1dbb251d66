// Writes to a ring of rows that the host reads now and then: ring[count mod rows][column + i] = values[i]. After the
// last values of a row, count grows by one.
//
// One block does this, because a row has only a few numbers. For each it reads one value and writes 8 bytes. Every
// launch reads count itself, so a replay writes the next row.
#pragma once

#include "../element_types.h"
#include "platform.cuh"

namespace stepsize::cuda {

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
