// The memory traffic of an update without its arithmetic: the same reads and writes, 6 to 36 bytes per parameter.
// Benchmarks compare an update with this, so it is a simple loop with one launch per tensor.
#pragma once

#include "../update/rules.h"
#include "../update/storage.h"
#include "platform.cuh"

namespace stepsize::cuda {

constexpr int kTrafficThreads = 256;

// One tensor of every list.
template <class Rule, class Types>
struct TrafficLists {
  using Parameter = typename update::WordOf<typename Types::Parameter>::Type;
  using Gradient = typename update::WordOf<typename Types::Gradient>::Type;
  using Moment = typename update::WordOf<typename Types::Moment>::Type;
  static constexpr int kMoments = Rule::kMoments > 0 ? Rule::kMoments : 1;
  // elements that a thread moves at once: 16 bytes of the smallest type
  static constexpr int kWidth = sizeof(Parameter) == 2 || sizeof(Gradient) == 2 || sizeof(Moment) == 2 ? 8 : 4;

  Parameter* parameter;
  Gradient* gradient;
  Moment* moments[kMoments];
  uint16_t* copy;
  int64_t count;
  bool aligned;  // whether all of them are aligned to 16 bytes
};

template <class Word, int Width>
struct alignas(Width == 1 ? sizeof(Word) : 16) Words {
  Word word[Width];
};

template <int Width, class Word>
__device__ __forceinline__ Words<Word, Width>& wordsAt(Word* list, int64_t i) {
  return reinterpret_cast<Words<Word, Width>*>(list)[i];
}

// Exclusive-or of the gradient's bits into every list that is written, as in native/cpu/kernels/traffic.h.
template <int Width, class Rule, class Types>
__device__ __forceinline__ void moveWords(const TrafficLists<Rule, Types>& lists, int64_t i) {
  using Lists = TrafficLists<Rule, Types>;
  const Words<typename Lists::Gradient, Width> gradient = wordsAt<Width>(lists.gradient, i);
  Words<typename Lists::Parameter, Width> parameter = wordsAt<Width>(lists.parameter, i);
  Words<typename Lists::Moment, Width> moments[Lists::kMoments];
#pragma unroll
  for (int m = 0; m < Rule::kMoments; m++) moments[m] = wordsAt<Width>(lists.moments[m], i);
  Words<uint16_t, Width> copy;
#pragma unroll
  for (int lane = 0; lane < Width; lane++) {
    const auto word = gradient.word[lane];
    parameter.word[lane] = static_cast<typename Lists::Parameter>(parameter.word[lane] ^ word);
#pragma unroll
    for (int m = 0; m < Rule::kMoments; m++)
      moments[m].word[lane] = static_cast<typename Lists::Moment>(moments[m].word[lane] ^ word);
    copy.word[lane] = static_cast<uint16_t>(word);
  }
  wordsAt<Width>(lists.parameter, i) = parameter;
#pragma unroll
  for (int m = 0; m < Rule::kMoments; m++) wordsAt<Width>(lists.moments[m], i) = moments[m];
  if constexpr (Types::kCopies) wordsAt<Width>(lists.copy, i) = copy;
}

template <class Rule, class Types>
__global__ void __launch_bounds__(kTrafficThreads) trafficKernel(TrafficLists<Rule, Types> lists) {
  constexpr int width = TrafficLists<Rule, Types>::kWidth;
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kTrafficThreads + threadIdx.x;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kTrafficThreads;
  const int64_t groups = lists.aligned ? lists.count / width : 0;
  for (int64_t i = thread; i < groups; i += step) moveWords<width>(lists, i);
  for (int64_t i = groups * width + thread; i < lists.count; i += step) moveWords<1>(lists, i);
}

}  // namespace stepsize::cuda
