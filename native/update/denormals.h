// Keeps denormal numbers, those below float32's smallest normal number 2^-126, out of parameters and optimizer state.
//
// A moment whose gradient is zero decays, and would stay at the smallest denormal number for ever, because β·m rounds
// back to m there. Arithmetic on denormal numbers can take a CPU up to a hundred times as long. A step therefore stores
// 0 instead of a denormal number, with an error below 2^-126. The update rules do this themselves and do not rely on a
// mode of the processor, because modes of CPUs and GPUs differ in what they flush and when. This way the bits are the
// same everywhere.
#pragma once

#include "../bfloat16.h"

namespace stepsize::update {

// Returns the value, or 0 if its magnitude is below that of the float with the bits `leastBits`; a NaN stays NaN. It
// has no branch, which would keep the compiler from vectorising a CPU loop.
STEPSIZE_HOST_DEVICE float zeroBelow(float value, int32_t leastBits) {
  const uint32_t bits = bitsOfFloat(value);
  const bool stays = static_cast<int32_t>(bits & 0x7fffffffu) >= leastBits;
  return floatOfBits(bits & (0u - static_cast<uint32_t>(stays)));
}

// The value to store: 0 if the magnitude is below 2^-126.
STEPSIZE_HOST_DEVICE float flushed(float value) { return zeroBelow(value, 0x00800000); }

// The gradient to square for a second moment: 0 below 2^-63, because the square would be denormal. The squares of tiny
// gradients are then not slow either.
STEPSIZE_HOST_DEVICE float squarable(float gradient) { return zeroBelow(gradient, 0x20000000); }

}  // namespace stepsize::update
