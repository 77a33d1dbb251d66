// The storage types of a step's lists, and the random numbers of stochastic rounding. The arithmetic is float32 in all
// cases.
//
//   parameters   gradients   moments             copies
//   float32      float32     float32, bfloat16   none
//   float32      bfloat16    float32, bfloat16   bfloat16     master weights; the copies are the model's parameters
//   bfloat16     bfloat16    float32, bfloat16   none         stochastic rounding
#pragma once

#include "../bfloat16.h"
#include "../philox.h"
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

// The random numbers of stochastic rounding: 16 bits for element i of list l of tensor t at an iteration, however the
// work is divided. List 0 is the parameter; lists 1 and up are its moments.
//
// One Philox block has the bits of eight neighbouring elements: element i takes half i mod 8 of block i / 8. Half 0 is
// the lower half of the first word, half 1 its upper half, and so on.

// The elements that share a Philox block.
constexpr int kRoundingElements = 8;

// The random stream of one tensor at one iteration.
struct RoundingStream {
  uint64_t seed;
  uint32_t tensor;
  uint32_t iteration;

  STEPSIZE_HOST_DEVICE uint64_t low(uint64_t block, int list) const {
    return block | static_cast<uint64_t>(list) << 56;
  }
  // The upper bit keeps these streams apart from all streams that fill tensors with random numbers.
  STEPSIZE_HOST_DEVICE uint64_t high() const {
    return static_cast<uint64_t>(1) << 63 | static_cast<uint64_t>(iteration & 0x7fffffffu) << 32 | tensor;
  }
  // The bits of elements 8·block to 8·block + 7.
  STEPSIZE_HOST_DEVICE Philox4 bits(uint64_t block, int list) const { return philox(low(block, list), high(), seed); }
};

// The bits of element i in the lower 16 bits of the result; the upper bits belong to another element.
STEPSIZE_HOST_DEVICE uint32_t roundingBits(const Philox4& block, uint32_t i) {
  const uint32_t half = i % kRoundingElements;
  return block.word[half / 2] >> (half % 2 * 16);
}

}  // namespace stepsize::update
