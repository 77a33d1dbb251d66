// Denormal numbers, those below float32's smallest normal number 2^-126, in what a step keeps.
//
// A moment whose gradient is zero decays, and would stay at the smallest denormal number for ever, since β·m rounds
// back to m there. Arithmetic on denormal numbers takes a CPU up to a hundred times as long. So a step stores none:
// each number that it stores is 0 instead, an error below 2^-126. The rules say so themselves, rather than a mode of
// the processor, because modes of CPUs and GPUs differ in what they flush and when: the bits are the same with this.
#pragma once

#include "../bfloat16.h"

namespace stepsize::update {

// The value, or 0 if its magnitude is below that of these bits; a NaN stays. Without a branch, which would keep a CPU's
// loop from being vectorised.
STEPSIZE_HOST_DEVICE float zeroBelow(float value, int32_t leastBits) {
  const uint32_t bits = bitsOfFloat(value);
  const bool stays = static_cast<int32_t>(bits & 0x7fffffffu) >= leastBits;
  return floatOfBits(bits & (0u - static_cast<uint32_t>(stays)));
}

// What is stored of a value: below 2^-126 nothing.
STEPSIZE_HOST_DEVICE float flushed(float value) { return zeroBelow(value, 0x00800000); }

// What of a gradient counts in a second moment: below 2^-63 nothing, since the square would be denormal. So the squares
// of tiny gradients take no time either.
STEPSIZE_HOST_DEVICE float squarable(float gradient) { return zeroBelow(gradient, 0x20000000); }

}  // namespace stepsize::update
