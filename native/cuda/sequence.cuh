// Embedding and rotary positions; shapes and formulas in cpu/kernels/embedding.h and rotary.h. Memory-bound.
#pragma once

#include "../element_types.h"
#include "platform.cuh"
#include "report_fault.cuh"

namespace stepsize::cuda {

constexpr int kSequenceThreads = 256;

// A block per id: threads beside each other copy numbers beside each other.
template <class T>
__global__ void __launch_bounds__(kSequenceThreads)
    embeddingKernel(const int32_t* ids, const T* table, T* out, int64_t count, int64_t rows, int width,
                    FaultReport faults) {
  for (int64_t i = blockIdx.x; i < count; i += gridDim.x) {
    const int id = ids[i];
    const bool valid = id >= 0 && id < rows;
    if (!valid && threadIdx.x == 0) report(faults, FaultKind::id, id, i, rows - 1);
    for (int j = static_cast<int>(threadIdx.x); j < width; j += kSequenceThreads)
      out[i * width + j] = valid ? table[id * static_cast<int64_t>(width) + j] : castElement<T>(0.0f);
  }
}

// A block per position. The first position of an id adds up all of them, in order; the others have nothing to do. So
// the sums need no atomics and have one order. Looking for the same id costs a read of the ids after each first one,
// which grows with the square of their number: at 16,384 ids still less than the rows that are added.
template <class T>
__global__ void __launch_bounds__(kSequenceThreads, 4)  // aiming at more blocks, ptxas spills
    embeddingGradientKernel(const int32_t* ids, const T* gradient, T* out, int64_t count, int64_t rows, int width) {
  STEPSIZE_SHARED(int, seen, [1]);
  for (int64_t i = blockIdx.x; i < count; i += gridDim.x) {
    const int id = ids[i];
    __syncthreads();
    if (threadIdx.x == 0) seen[0] = id < 0 || id >= rows;
    __syncthreads();
    for (int64_t k = threadIdx.x; k < i; k += kSequenceThreads)
      if (ids[k] == id) atomicOr(&seen[0], 1);
    __syncthreads();
    if (seen[0]) continue;
    for (int first = 0; first < width; first += kSequenceThreads) {
      const int j = first + static_cast<int>(threadIdx.x);
      if (j >= width) continue;
      float sum = 0;
      for (int64_t k = i; k < count; k++)
        if (ids[k] == id) sum += toFloat(gradient[k * width + j]);
      out[id * static_cast<int64_t>(width) + j] = castElement<T>(sum);
    }
  }
}

struct HeadShape {
  int64_t positions;  // of all sequences
  int length, heads, size;
};

// A block per position. Angles in double, as a float32 angle is off by a hundredth at position 10⁵; in units of π,
// whose multiples are taken away exactly. log2Base: of the base of the frequencies.
template <class T>
__global__ void __launch_bounds__(kSequenceThreads)
    rotaryKernel(const T* x, T* out, HeadShape s, double log2Base, float direction) {
  const int half = s.size / 2;
  for (int64_t position = blockIdx.x; position < s.positions; position += gridDim.x) {
    const int64_t at = position * s.heads * s.size;
    for (int t = static_cast<int>(threadIdx.x); t < s.heads * half; t += kSequenceThreads) {
      const int i = t % half;
      const int64_t first = at + static_cast<int64_t>(t / half) * s.size + i;
      double sine = 0, cosine = 0;
      sincospi(static_cast<double>(position % s.length) * exp2(-2.0 * i / s.size * log2Base) * 0.31830988618379067,
               &sine, &cosine);
      const auto c = static_cast<float>(cosine);
      const float r = direction * static_cast<float>(sine);
      const float a = toFloat(x[first]), b = toFloat(x[first + half]);
      out[first] = castElement<T>(a * c - b * r);
      out[first + half] = castElement<T>(b * c + a * r);
    }
  }
}

}  // namespace stepsize::cuda
