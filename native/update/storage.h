// The storage types of a step's lists. The arithmetic is float32 in all cases.
//
//   parameters   gradients   moments             copies
//   float32      float32     float32, bfloat16   none
//   float32      bfloat16    float32, bfloat16   bfloat16     master weights; the copies are the model's parameters
//   bfloat16     bfloat16    float32, bfloat16   none         stochastic rounding
#pragma once

#include "../bfloat16.h"
#include "rules.h"

namespace stepsize::update {

// The unsigned integer of the same size.
template <class T>
struct WordOf {
  using Type = uint32_t;
};
template <>
struct WordOf<BFloat16> {
  using Type = uint16_t;
};

// The types of the lists of a step.
template <class P, class G, class M, bool Copy>
struct Storage {
  using Parameter = P;
  using Gradient = G;
  using Moment = M;
  static constexpr bool kCopies = Copy;
};

// The storage of a step, as far as it varies at run time.
struct StoredAs {
  bool lowParameters;  // bfloat16
  bool lowMoments;
  bool copies;
};

// Calls visit(storage) with the Storage of a step whose types are known only at run time.
template <class Rule, class Visit>
inline __attribute__((always_inline)) void visitStorage(const StoredAs& as, const Visit& visit) {
  if constexpr (Rule::kMoments > 0) {
    if (as.lowMoments && as.copies) return visit(Storage<float, BFloat16, BFloat16, true>{});
    if (as.lowMoments && as.lowParameters) return visit(Storage<BFloat16, BFloat16, BFloat16, false>{});
    if (as.lowMoments) return visit(Storage<float, float, BFloat16, false>{});
  }
  if (as.copies) return visit(Storage<float, BFloat16, float, true>{});
  if (as.lowParameters) return visit(Storage<BFloat16, BFloat16, float, false>{});
  visit(Storage<float, float, float, false>{});
}

// Calls visit(rule, storage) for a step with these lists: parameters, gradients, moments and perhaps copies.
// isLow(list) says whether a list is bfloat16.
template <class IsLow, class Visit>
inline __attribute__((always_inline)) void visitStep(int64_t rule, int64_t lists, const IsLow& isLow,
                                                     const Visit& visit) {
  visitRule(static_cast<Rule>(rule), [&](auto known) {
    using Known = decltype(known);
    const StoredAs as{isLow(0), Known::kMoments > 0 && isLow(2), lists == Known::kMoments + 3};
    visitStorage<Known>(as, [&](auto types) { visit(known, types); });
  });
}

}  // namespace stepsize::update
