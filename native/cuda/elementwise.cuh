// Filling memory and changing its type, four elements at a time: each is read and written once, in its type's bytes.
#pragma once

#include "fours.cuh"

namespace stepsize::cuda {

template <class T>
__global__ void __launch_bounds__(kFoursThreads) fillKernel(T* to, int64_t count, T value) {
  const bool aligned = isAligned16(to);
  const Four<T> values{{value, value, value, value}};
  forFours(count, [&](int64_t i, int elements) { storeStored(to + i, aligned, elements, values); });
}

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
