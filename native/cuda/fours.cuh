// Loops over elements by fours, which lie side by side and move as 16 bytes, of bfloat16 8, where they are aligned. In
// registers they are float32, and rounded once when they are stored.
#pragma once

#include "../element_types.h"
#include "vector_access.cuh"

namespace stepsize::cuda {

constexpr int kFoursThreads = 256;

// Calls f(first, count) for this thread's groups of up to four elements.
template <class F>
__device__ __forceinline__ void forFours(int64_t count, const F& f) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kFoursThreads * 4;
  for (int64_t i = (static_cast<int64_t>(blockIdx.x) * kFoursThreads + threadIdx.x) * 4; i < count; i += step)
    f(i, static_cast<int>(min(int64_t{4}, count - i)));
}

// The same with first % period, which moves along with it: a division of 64 bits for each group would take longer than
// its memory. For a period of 0 there is nothing to do.
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

// A group that forFours gives, of four elements or fewer at the end.
template <class T>
__device__ __forceinline__ void loadGroup(const T* from, bool aligned, int elements, float (&x)[4]) {
  if (elements == 4) return load(from, aligned, x);
#pragma unroll
  for (int j = 0; j < 4; j++)
    if (j < elements) x[j] = toFloat(from[j]);
}
template <class T>
__device__ __forceinline__ void storeGroup(T* to, bool aligned, int elements, const float (&x)[4]) {
  T rounded[4];
#pragma unroll
  for (int j = 0; j < 4; j++) rounded[j] = castElement<T>(x[j]);
  if (elements == 4) return store(to, aligned, rounded);
#pragma unroll
  for (int j = 0; j < 4; j++)
    if (j < elements) to[j] = rounded[j];
}

// The same of any type, as they are stored.
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

// The four numbers of a repeating row from `at` on.
template <class T>
struct Repeated {
  const T* row;
  int64_t period;
  bool aligned;  // for every group: the row, and its length a multiple of four

  __device__ Repeated(const T* numbers, int64_t length)
      : row(numbers), period(length), aligned(isAligned16(numbers) && length % 4 == 0) {}
  __device__ void load(int64_t at, float (&x)[4]) const {
    if (aligned) return cuda::load(row + at, true, x);
#pragma unroll
    for (int j = 0; j < 4; j++, at = at + 1 == period ? 0 : at + 1) x[j] = toFloat(row[at]);
  }
};

}  // namespace stepsize::cuda
