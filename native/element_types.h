// The C++ type of each data type, and conversions between them: the same on the CPU and on CUDA.
#pragma once

#include "bfloat16.h"
#include "tensor_spec.h"

namespace stepsize {

// Calls visit(zero) with a value of the type that is known at run time only.
template <class Visit>
STEPSIZE_INLINE void visitType(DataType type, const Visit& visit) {
  switch (type) {
    case DataType::float32: return visit(0.0f);
    case DataType::float64: return visit(0.0);
    case DataType::int32: return visit(int32_t{0});
    case DataType::uint8: return visit(uint8_t{0});
    case DataType::bfloat16: return visit(BFloat16{0});
  }
}

// Towards an integer type: truncated, as in C, and held inside the type's range; NaN becomes 0. bfloat16 goes through
// float32 in both directions.
template <class To, class From>
STEPSIZE_HOST_DEVICE To castElement(From value) {
  if constexpr (sizeof(From) == sizeof(BFloat16) && sizeof(To) == sizeof(BFloat16)) {
    return value;
  } else if constexpr (sizeof(From) == sizeof(BFloat16)) {
    return castElement<To>(toFloat(value));
  } else if constexpr (sizeof(To) == sizeof(BFloat16)) {
    return toBFloat16(static_cast<float>(value));
  } else if constexpr (static_cast<To>(0.5) != 0) {
    return static_cast<To>(value);
  } else {
    constexpr double low = sizeof(To) == 1 ? 0 : -2147483648.0, high = sizeof(To) == 1 ? 255 : 2147483647.0;
    const double wide = static_cast<double>(value);
    return wide >= low ? static_cast<To>(wide <= high ? wide : high) : static_cast<To>(wide < low ? low : 0);
  }
}

}  // namespace stepsize
