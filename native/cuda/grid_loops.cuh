// Loops of a grid over more elements than it has threads. A kernel states what it does with N neighbouring elements, as
// a function that is compiled twice: for groups that move 16 bytes at once, and for single elements. The loop over
// groups has no branches, so all loads of an iteration are under way before the first one is waited for. In registers
// the elements are float32; they are rounded once, when they are stored.
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

// The threads of a block of a kernel that uses forElements.
constexpr int kElementThreads = 256;

// The elements that move at once if T are the types in memory: eight if any of them has less than four bytes.
template <class... T>
constexpr int kGroup = ((sizeof(T) < 4) || ...) ? 8 : 4;

// A number of neighbouring elements, as a type.
template <int Count>
struct Elements {
  static constexpr int kCount = Count;
};

// Σ x, in order.
template <int Count>
__device__ __forceinline__ float sumOf(const float (&x)[Count]) {
  float sum = x[0];
#pragma unroll
  for (int e = 1; e < Count; e++) sum += x[e];
  return sum;
}

// Whether the groups of all of these are aligned, if the first ones are.
template <class... Pointers>
__device__ __forceinline__ bool areAligned(const Pointers*... p) {
  return (isAligned16(p) && ...);
}

// Calls f(first, Elements<Group>) for this thread's groups if `aligned`, and f(i, Elements<1>) for the other elements.
template <int Group, class F>
__device__ __forceinline__ void forElements(int64_t count, bool aligned, const F& f) {
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kElementThreads + threadIdx.x;
  const int64_t threads = static_cast<int64_t>(gridDim.x) * kElementThreads;
  const int64_t grouped = aligned ? count / Group * Group : 0;
  for (int64_t i = thread * Group; i < grouped; i += threads * Group) f(i, Elements<Group>{});
#pragma unroll 1
  for (int64_t i = grouped + thread; i < count; i += threads) f(i, Elements<1>{});
}

// a % b for a ≥ 0 and b > 0. A division of 64 bits takes several times as long as one of 32.
__device__ __forceinline__ int64_t remainder(int64_t a, int64_t b) {
  if (a < b) return a;
  if (a <= UINT32_MAX) return static_cast<uint32_t>(a) % static_cast<uint32_t>(b);
  return a % b;
}

// Calls f(first, first % period, Elements<N>) as above. The remainder is updated from one group to the next, because a
// division per group would take longer than the memory access. Index is the type of the remainder.
template <int Group, class Index, class F>
__device__ __forceinline__ void forElements(int64_t count, Index period, bool aligned, const F& f) {
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kElementThreads + threadIdx.x;
  const int64_t threads = static_cast<int64_t>(gridDim.x) * kElementThreads;
  const int64_t grouped = aligned ? count / Group * Group : 0;
  const auto walk = [&](int64_t first, int64_t end, auto elements) {
    const int64_t step = threads * decltype(elements)::kCount;
    if (first >= end) return;
    Index at = static_cast<Index>(remainder(first, period));
    const Index move = static_cast<Index>(remainder(step, period));
#pragma unroll 1
    for (int64_t i = first; i < end; i += step) {
      f(i, at, elements);
      // `at` + `move` may be too large for an Index.
      at = at >= period - move ? at - (period - move) : at + move;
    }
  };
  walk(thread * Group, grouped, Elements<Group>{});
  walk(grouped + thread, count, Elements<1>{});
}

// Loads or stores four elements, or fewer at the end of a row.
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

}  // namespace stepsize::cuda
