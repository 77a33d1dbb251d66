// bfloat16, the upper 16 bits of a float32, with conversions that give the same bits on the CPU and on CUDA. Kernel
// files include this header, so it uses no STL.
#pragma once

#include <cstdint>

#include "host_device.h"
#if defined(__CUDACC__)
#include <cuda_bf16.h>
#endif

namespace stepsize {

// A bfloat16 as it is stored.
struct BFloat16 {
  uint16_t bits;
};

// The float32 with these bits.
STEPSIZE_HOST_DEVICE float floatOfBits(uint32_t bits) {
  float value = 0;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

// The bits of a float32.
STEPSIZE_HOST_DEVICE uint32_t bitsOfFloat(float value) {
  uint32_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
}

// Widens to float32, which is exact.
STEPSIZE_HOST_DEVICE float toFloat(float value) { return value; }
STEPSIZE_HOST_DEVICE float toFloat(BFloat16 value) { return floatOfBits(static_cast<uint32_t>(value.bits) << 16); }

// Adds `addend` to the bits and cuts off the lower half. NaN is handled separately, because a carry could turn it into
// an infinity or a number.
STEPSIZE_HOST_DEVICE BFloat16 roundedUpBy(float value, uint32_t addend) {
  const uint32_t bits = bitsOfFloat(value);
  const bool isNan = (bits & 0x7fffffffu) > 0x7f800000u;
  return {static_cast<uint16_t>(isNan ? 0x7fffu : (bits + addend) >> 16)};
}

// Rounds to nearest, ties to even. Every NaN becomes 0x7fff, the NaN of CUDA's instruction.
STEPSIZE_HOST_DEVICE BFloat16 toBFloat16(float value) {
#if defined(__CUDA_ARCH__)
  return {__bfloat16_as_ushort(__float2bfloat16_rn(value))};
#else
  return roundedUpBy(value, 0x7fffu + (bitsOfFloat(value) >> 16 & 1u));
#endif
}

// Rounds up or down at random, with probabilities such that the expected result is `value`. `random` holds 16 random
// bits.
STEPSIZE_HOST_DEVICE BFloat16 toBFloat16Stochastically(float value, uint32_t random) {
  return roundedUpBy(value, random & 0xffffu);
}

}  // namespace stepsize
