// The random numbers of stochastic rounding: 16 bits for element i of list l of tensor t at an iteration, whatever the
// division of the work. List 0 is the parameter, 1 and up its moments.
//
// One Philox block gives eight neighbouring elements their bits: element i takes half i mod 8 of the block i / 8, where
// the halves of its four words are counted from the lower of the first.
#pragma once

#include "../philox.h"

namespace stepsize::update {

constexpr int kRoundingElements = 8;

struct RoundingStream {
  uint64_t seed;
  uint32_t tensor;
  uint32_t iteration;

  STEPSIZE_HOST_DEVICE uint64_t low(uint64_t block, int list) const {
    return block | static_cast<uint64_t>(list) << 56;
  }
  // The upper bit sets it apart from all streams that fill tensors with random numbers.
  STEPSIZE_HOST_DEVICE uint64_t high() const {
    return static_cast<uint64_t>(1) << 63 | static_cast<uint64_t>(iteration & 0x7fffffffu) << 32 | tensor;
  }
  // The bits of elements 8·block to 8·block + 7.
  STEPSIZE_HOST_DEVICE Philox4 bits(uint64_t block, int list) const { return philox(low(block, list), high(), seed); }
};

// The half of a block that belongs to element i; the upper bits are another element's.
STEPSIZE_HOST_DEVICE uint32_t roundingBits(const Philox4& block, uint32_t i) {
  const uint32_t half = i % kRoundingElements;
  return block.word[half / 2] >> (half % 2 * 16);
}

}  // namespace stepsize::update
