// The properties of f32 and f64 that are specific to NVIDIA's hardware.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace stepsize::ptx {

// The canonical NaN: every NaN result has these bits, whatever the operands were.
template <class T>
T canonical(T x) {
  if (x == x) return x;
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  const Bits bits = sizeof(T) == 4 ? static_cast<Bits>(0x7fffffff) : static_cast<Bits>(0x7ff8000000000000);
  T nan;
  std::memcpy(&nan, &bits, sizeof nan);
  return nan;
}

// The effect of .ftz: a denormal number becomes 0.
inline float flushed(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }

// The effect of .sat: a number is clamped to [0, 1], NaN becomes 0.
template <class T>
T saturated(T x) {
  if (x != x || x < 0) return 0;
  return x > 1 ? 1 : x;
}

// Conversions of bfloat16 bits, rounded to nearest, ties to even; a NaN becomes 0x7fff.
inline float floatOfBFloat16(uint32_t half) {
  const uint32_t bits = half << 16;
  float x = 0;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
inline uint32_t bfloat16Of(float x) {
  if (x != x) return 0x7fff;
  uint32_t bits = 0;
  std::memcpy(&bits, &x, sizeof bits);
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
// Conversion to TF32, rounded to nearest, ties to even. The PTX ISA does not define where its bits are. Here they are
// the upper bits of a float32.
constexpr uint32_t kBelowTf32 = 0x1fff;
inline uint32_t tf32Of(float x) {
  if (x != x) return 0x7fffffff & ~kBelowTf32;
  uint32_t bits = 0;
  std::memcpy(&bits, &x, sizeof bits);
  return (bits + 0xfff + (bits >> 13 & 1)) & ~kBelowTf32;
}
inline float floatOfHalf(uint32_t half) {
  const auto bits = static_cast<uint16_t>(half);
  _Float16 x = 0;
  std::memcpy(&x, &bits, sizeof x);
  return static_cast<float>(x);
}
inline uint32_t halfOf(float x) {
  const auto half = static_cast<_Float16>(x);
  uint16_t bits = 0;
  std::memcpy(&bits, &half, sizeof bits);
  return bits;
}

}  // namespace stepsize::ptx
