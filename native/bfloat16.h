// bfloat16: the upper half of a float32. The same bits on the CPU and on CUDA. Free of the STL, as kernel files are.
#pragma once

#include <cstdint>

#include "host_device.h"
namespace stepsize {

struct BFloat16 {
  uint16_t bits;
};

STEPSIZE_HOST_DEVICE float floatOfBits(uint32_t bits) {
  float value = 0;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

STEPSIZE_HOST_DEVICE uint32_t bitsOfFloat(float value) {
  uint32_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
}

STEPSIZE_HOST_DEVICE float toFloat(float value) { return value; }
STEPSIZE_HOST_DEVICE float toFloat(BFloat16 value) { return floatOfBits(static_cast<uint32_t>(value.bits) << 16); }

// Adds to the half that is cut off, and cuts. A NaN's carry could make it an infinity or a number, so it is set apart.
STEPSIZE_HOST_DEVICE BFloat16 roundedUpBy(float value, uint32_t addend) {
  const uint32_t bits = bitsOfFloat(value);
  const bool isNan = (bits & 0x7fffffffu) > 0x7f800000u;
  return {static_cast<uint16_t>(isNan ? 0x7fffu : (bits + addend) >> 16)};
}

// To the nearest, ties to even.
STEPSIZE_HOST_DEVICE BFloat16 toBFloat16(float value) {
  return roundedUpBy(value, 0x7fffu + (bitsOfFloat(value) >> 16 & 1u));
}

// Up or down with a chance that makes the mean of many roundings the value itself; `random` is any 16 bits.
STEPSIZE_HOST_DEVICE BFloat16 toBFloat16Stochastically(float value, uint32_t random) {
  return roundedUpBy(value, random & 0xffffu);
}

}  // namespace stepsize
