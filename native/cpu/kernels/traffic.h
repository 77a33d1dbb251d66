// The memory traffic of an update without its arithmetic: the same reads and writes. Benchmarks compare an update with
// this, so it is a simple loop over one slice of each tensor per thread.
#pragma once

#include "update.h"

namespace stepsize::STEPSIZE_ISA {

// One tensor of every list.
template <class Types>
struct TrafficLists {
  using Parameter = typename update::WordOf<typename Types::Parameter>::Type;
  using Gradient = typename update::WordOf<typename Types::Gradient>::Type;
  using Moment = typename update::WordOf<typename Types::Moment>::Type;

  Parameter* parameter;
  const Gradient* gradient;
  Moment* moments[update::kMaxMoments];
  uint16_t* copy;
};

// Exclusive-or of the gradient's bits into every list that is written; a copy gets the bits themselves. The next pass
// undoes the change, so no value ever becomes one that a processor is slower with.
template <class Rule, class Types>
STEPSIZE_INLINE void moveWords(const TrafficLists<Types>& lists, int64_t from, int64_t to) {
  using Lists = TrafficLists<Types>;
  auto* parameter = lists.parameter;
  const auto* gradient = lists.gradient;
  auto *m0 = lists.moments[0], *m1 = lists.moments[1], *m2 = lists.moments[2];
  auto* copy = lists.copy;
  STEPSIZE_INDEPENDENT_ITERATIONS
  for (int64_t i = from; i < to; i++) {
    const auto word = gradient[i];
    parameter[i] = static_cast<typename Lists::Parameter>(parameter[i] ^ word);
    if constexpr (Rule::kMoments > 0) m0[i] = static_cast<typename Lists::Moment>(m0[i] ^ word);
    if constexpr (Rule::kMoments > 1) m1[i] = static_cast<typename Lists::Moment>(m1[i] ^ word);
    if constexpr (Rule::kMoments > 2) m2[i] = static_cast<typename Lists::Moment>(m2[i] ^ word);
    if constexpr (Types::kCopies) copy[i] = static_cast<uint16_t>(word);
  }
}

template <class Rule, class Types>
inline void trafficAll(const Invocation& call) {
  using Lists = TrafficLists<Types>;
  for (int64_t t = 0; t < call.lists[0].count; t++) {
    const auto at = [&](int list) { return call.lists[list].tensors[t].data; };
    Lists lists{};
    lists.parameter = static_cast<typename Lists::Parameter*>(at(0));
    lists.gradient = static_cast<const typename Lists::Gradient*>(at(1));
    for (int m = 0; m < Rule::kMoments; m++) lists.moments[m] = static_cast<typename Lists::Moment*>(at(2 + m));
    if constexpr (Types::kCopies) lists.copy = static_cast<uint16_t*>(at(2 + Rule::kMoments));
    const int64_t count = call.lists[0].tensors[t].elements();
    parallelFor(call, call.threads, [&](int64_t slice) {
      moveWords<Rule, Types>(lists, count * slice / call.threads, count * (slice + 1) / call.threads);
    });
  }
}

inline void traffic(const Invocation& call) {
  visitUpdate(call, call.integer(attribute::traffic::rule),
              [&](auto rule, auto types) { trafficAll<decltype(rule), decltype(types)>(call); });
}

}  // namespace stepsize::STEPSIZE_ISA
