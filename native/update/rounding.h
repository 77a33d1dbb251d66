// The random numbers of stochastic rounding: 16 bits for element i of list l of tensor t at an iteration, however the
// work is divided. List 0 is the parameter; lists 1 and up are its moments.
//
// One Philox block has the bits of eight neighbouring elements: element i takes half i mod 8 of block i / 8. Half 0 is
// the lower half of the first word, half 1 its upper half, and so on.
#pragma once

#include "../philox.h"

namespace stepsize::update {

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
