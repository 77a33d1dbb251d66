// Loops of a grid over more elements than it has threads: one element at a time, or groups of four. If aligned, a group
// moves as 16 bytes, or 8 in bfloat16. In registers the elements are float32; they are rounded once, when they are
// stored.
#pragma once

#include "../element_types.h"
#include "vector_access.cuh"

namespace stepsize::cuda {

// Calls f(i) for this thread's share of 0 … count − 1.
template <int Threads, class F>
__device__ __forceinline__ void forGrid(int64_t count, const F& f) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * Threads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * Threads + threadIdx.x; i < count; i += step) f(i);
}

// The threads of a block of a kernel that uses forFours.
constexpr int kFoursThreads = 256;

// Calls f(first, count) for this thread's groups of up to four elements.
template <class F>
__device__ __forceinline__ void forFours(int64_t count, const F& f) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kFoursThreads * 4;
  for (int64_t i = (static_cast<int64_t>(blockIdx.x) * kFoursThreads + threadIdx.x) * 4; i < count; i += step)
    f(i, static_cast<int>(min(int64_t{4}, count - i)));
}

// Calls f(first, count, first % period). The remainder is updated from group to group, because a 64-bit division per
// group would take longer than the memory access. A period of 0 does nothing.
template <class F>
__device__ __forceinline__ void forFours(int64_t count, int64_t period, const F& f) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kFoursThreads * 4;
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * kFoursThreads + threadIdx.x) * 4;
  if (first >= count) return;
  int64_t at = first % period;
  const int64_t move = step % period;
  for (int64_t i = first; i < count; i += step) {
    f(i, static_cast<int>(min(int64_t{4}, count - i)), at);
    at += move;
    if (at >= period) at -= period;
  }
}

// Loads or stores a group of forFours; the last group may have fewer than four elements.
template <class T>
__device__ __forceinline__ void loadGroup(const T* from, bool aligned, int elements, float (&x)[4]) {
  if (elements == 4) return load(from, aligned, x);
#pragma unroll
  for (int j = 0; j < 4; j++)
    if (j < elements) x[j] = toFloat(from[j]);
}
template <class T>
__device__ __forceinline__ void storeGroup(T* to, bool aligned, int elements, const float (&x)[4]) {
  if (aligned && elements == 4) return storeAligned(to, x);
#pragma unroll
  for (int j = 0; j < 4; j++)
    if (j < elements) to[j] = castElement<T>(x[j]);
}

// The same for elements of any type, without conversion.
template <class T>
__device__ __forceinline__ Four<T> loadStored(const T* from, bool aligned, int elements) {
  if (aligned && elements == 4) return *reinterpret_cast<const Four<T>*>(from);
  Four<T> x{};
#pragma unroll
  for (int j = 0; j < 4; j++)
    if (j < elements) x.value[j] = from[j];
  return x;
}
template <class T>
__device__ __forceinline__ void storeStored(T* to, bool aligned, int elements, const Four<T>& x) {
  if (aligned && elements == 4) {
    *reinterpret_cast<Four<T>*>(to) = x;
    return;
  }
#pragma unroll
  for (int j = 0; j < 4; j++)
    if (j < elements) to[j] = x.value[j];
}

// A row that repeats with a period.
template <class T>
struct Repeated {
  const T* row;
  int64_t period;
  bool aligned;  // whether every group is aligned: the row is, and its length is a multiple of four

  __device__ Repeated(const T* numbers, int64_t length)
      : row(numbers), period(length), aligned(isAligned16(numbers) && length % 4 == 0) {}
  // Loads the four numbers from position `at` on, wrapping around.
  __device__ void load(int64_t at, float (&x)[4]) const {
    if (aligned) return cuda::load(row + at, true, x);
#pragma unroll
    for (int j = 0; j < 4; j++, at = at + 1 == period ? 0 : at + 1) x[j] = toFloat(row[at]);
  }
};

}  // namespace stepsize::cuda
