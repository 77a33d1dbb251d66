// Division by a number that is known before a kernel is launched: three instructions instead of about twenty.
#pragma once

#include <cstdint>

#include "../host_device.h"

namespace stepsize::cuda {

// Divides numbers from 0 to 2³¹ − 1 by a divisor of this range. A divisor of 0, a size of an empty tensor, counts as 1.
//
// With 2ˡ⁻¹ < divisor ≤ 2ˡ, the factor is 2³¹⁺ˡ / divisor, rounded up. Then factor · divisor exceeds 2³¹⁺ˡ by less than
// 2ˡ, and number · factor / 2³¹⁺ˡ has the right integer part (Granlund, Montgomery, "Division by Invariant Integers
// using Multiplication", theorem 4.2).
struct Divider {
  int divisor;
  uint32_t factor;
  int shift;

  Divider() = default;
  explicit Divider(int number) : divisor(number > 0 ? number : 1), factor(0), shift(0) {
    while ((int64_t{1} << shift) < divisor) shift++;
    const auto by = static_cast<uint64_t>(divisor);
    factor = static_cast<uint32_t>(((uint64_t{1} << (31 + shift)) + by - 1) / by);
  }

  STEPSIZE_HOST_DEVICE int quotient(int number) const {
    const uint64_t product = uint64_t{static_cast<uint32_t>(number) << 1} * factor;
    return static_cast<int>(static_cast<uint32_t>(product >> 32) >> shift);
  }
};

}  // namespace stepsize::cuda
