// The optimizer step: one pass over all tensors of all groups, with the rules of native/update.
#pragma once

#include "../../operations_attributes.h"
#include "../../update/adam.h"
#include "../../update/prepare.h"
#include "../../update/sgd.h"
#include "vector.h"

namespace stepsize::STEPSIZE_ISA {

// All tensors' chunks in one numbering, so that a hundred small tensors keep the threads as busy as one large one.
struct ChunkedTensors {
  const TensorView* tensors;
  int64_t count;
  int64_t* firstChunk;  // count + 1 entries

  ChunkedTensors(const Invocation& call, const TensorView* views, int64_t number) : tensors(views), count(number) {
    firstChunk = static_cast<int64_t*>(call.workspace((number + 1) * 8));
    firstChunk[0] = 0;
    for (int64_t t = 0; t < number; t++) firstChunk[t + 1] = firstChunk[t] + ceilDivide(views[t].elements(), kChunk);
  }
  STEPSIZE_INLINE int64_t chunks() const { return firstChunk[count]; }
  STEPSIZE_INLINE int64_t tensorOf(int64_t chunk) const {
    int64_t low = 0, high = count;
    while (high - low > 1) {
      const int64_t middle = (low + high) / 2;
      (firstChunk[middle] <= chunk ? low : high) = middle;
    }
    return low;
  }
  // Calls f(tensor, from, to, chunk) for every chunk.
  template <class F>
  STEPSIZE_INLINE void forEach(const Invocation& call, const F& f) const {
    parallelFor(call, chunks(), [&](int64_t chunk) {
      const int64_t t = tensorOf(chunk);
      const int64_t from = (chunk - firstChunk[t]) * kChunk;
      f(t, from, least(tensors[t].elements(), from + kChunk), chunk);
    });
  }
};

// √Σ g² over all tensors: one partial sum per chunk, added in order. Not finite where a gradient is not, or where the
// square of one overflows (|g| > 1.8e19).
inline void gradientNorm(const Invocation& call) {
  const int64_t count = call.inputs;
  const ChunkedTensors all(call, call.tensors, count);
  float* partial = static_cast<float*>(call.workspace(all.chunks() * 4));
  all.forEach(call, [&](int64_t t, int64_t from, int64_t to, int64_t chunk) {
    const float* g = call.tensors[t].floats();
    Vec sums[4] = {broadcast(0), broadcast(0), broadcast(0), broadcast(0)};
    int64_t i = from;
    for (; i + 4 * kLanes <= to; i += 4 * kLanes)
      for (int v = 0; v < 4; v++) {
        const Vec x = load(g + i + v * kLanes);
        sums[v] = fma(x, x, sums[v]);
      }
    float sum = sumLanes((sums[0] + sums[1]) + (sums[2] + sums[3]));
    for (; i < to; i++) sum += g[i] * g[i];
    partial[chunk] = sum;
  });
  double total = 0;
  for (int64_t i = 0; i < all.chunks(); i++) total += static_cast<double>(partial[i]);
  call.output(0).floats()[0] = static_cast<float>(__builtin_sqrt(total));
}

inline void prepareStep(const Invocation& call) {
  const TensorView& hyperRows = call.input(0);
  double* stateData = call.input(1).as<double>();
  auto& state = *reinterpret_cast<update::State*>(stateData);
  auto* groups = reinterpret_cast<update::GroupState*>(stateData + update::kStateFields);
  auto* scalars = reinterpret_cast<update::Scalars*>(call.output(0).data);
  const update::StepOptions options{call.attributes[attribute::maxNorm], call.integer(attribute::checkFinite) != 0,
                                    call.integer(attribute::skipNonFinite) != 0,
                                    call.attributes[attribute::gradientScale]};
  const float norm = call.inputs == 3 ? call.input(2).floats()[0] : 0;
  const bool apply = update::beginStep(state, options, norm);
  for (int64_t g = 0; g < hyperRows.shape[0]; g++)
    scalars[g] = update::prepareGroup(reinterpret_cast<const update::Hyper*>(hyperRows.data)[g], state, groups[g],
                                      apply, options);
}

// What every update kernel shares: `scalars, groups, lists of tensors`, list by list. f(list pointers' offset …) runs
// over one chunk with its group's scalars in registers.
template <class F>
STEPSIZE_INLINE void updateChunks(const Invocation& call, const F& f) {
  const int64_t tensors = call.integer(attribute::tensors);
  const auto* scalars = reinterpret_cast<const update::Scalars*>(call.input(0).data);
  const int32_t* groups = call.input(1).as<int32_t>();
  const int64_t groupCount = call.input(0).shape[0];
  const TensorView* lists = call.tensors + 2;
  for (int64_t t = 0; t < tensors; t++)
    if (groups[t] < 0 || groups[t] >= groupCount)
      return call.fail("tensor %lld has group %lld of %lld", t, groups[t], groupCount);
  ChunkedTensors(call, lists, tensors).forEach(call, [&](int64_t t, int64_t from, int64_t to, int64_t) {
    const update::Scalars s = scalars[groups[t]];
    if (s.apply == 0) return;
    f([&](int64_t list) { return lists[list * tensors + t].floats() + from; }, to - from, s);
  });
}

inline void sgdUpdate(const Invocation& call) {
  if (call.integer(attribute::hasMomentum) == 0)
    return updateChunks(call, [](const auto& list, int64_t count, const update::Scalars& s) {
      float* __restrict__ p = list(0);
      const float* __restrict__ g = list(1);
      for (int64_t i = 0; i < count; i++) update::sgd(p[i], g[i], s);
    });
  updateChunks(call, [](const auto& list, int64_t count, const update::Scalars& s) {
    float* __restrict__ p = list(0);
    const float* __restrict__ g = list(1);
    float* __restrict__ buffer = list(2);
    for (int64_t i = 0; i < count; i++) update::sgdMomentum(p[i], g[i], buffer[i], s);
  });
}

inline void adamUpdate(const Invocation& call) {
  if (call.integer(attribute::amsgrad) == 0)
    return updateChunks(call, [](const auto& list, int64_t count, const update::Scalars& s) {
      float* __restrict__ p = list(0);
      const float* __restrict__ g = list(1);
      float* __restrict__ m = list(2);
      float* __restrict__ v = list(3);
      for (int64_t i = 0; i < count; i++) update::adam(p[i], g[i], m[i], v[i], s);
    });
  updateChunks(call, [](const auto& list, int64_t count, const update::Scalars& s) {
    float* __restrict__ p = list(0);
    const float* __restrict__ g = list(1);
    float* __restrict__ m = list(2);
    float* __restrict__ v = list(3);
    float* __restrict__ maximum = list(4);
    for (int64_t i = 0; i < count; i++) update::adamAmsgrad(p[i], g[i], m[i], v[i], maximum[i], s);
  });
}

}  // namespace stepsize::STEPSIZE_ISA
