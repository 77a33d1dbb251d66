// Fills memory, and converts between element types. A thread takes four elements at a time; each element is read once
// and written once, in the bytes of its type.
#pragma once

#include "fours.cuh"

namespace stepsize::cuda {

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

}  // namespace stepsize::cuda
