// Maps each data type to its C++ type, and converts between these types in the same way on the CPU and on CUDA.
#pragma once

#include "bfloat16.h"
#include "tensor_spec.h"

namespace stepsize {

// Calls visit(zero) with a zero of the C++ type of a data type that is known only at run time.
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

// Converts an element. Conversion to an integer type truncates as in C and clamps to the range of the type; NaN becomes
// 0. Conversions of bfloat16 go through float32.
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
