// The types and state spaces of PTX.
#pragma once

#include <cstdint>
#include <string_view>

namespace stepsize::ptx {

enum class Type : uint8_t {
  none,
  predicate,
  u8,
  u16,
  u32,
  u64,
  s8,
  s16,
  s32,
  s64,
  b8,
  b16,
  b32,
  b64,
  f16,
  bf16,
  f16x2,
  bf16x2,
  tf32,
  f32,
  f64,
};

enum class Space : uint8_t { generic, global, shared, local, parameter, constant };

// The type with this name; Type::none if there is none.
Type typeNamed(std::string_view name);
int bytesOf(Type type);
constexpr bool isSigned(Type type) {
  return type == Type::s8 || type == Type::s16 || type == Type::s32 || type == Type::s64;
}
constexpr bool isFloat(Type type) { return type == Type::f32 || type == Type::f64; }
// Whether a type has 16 bits, alone or in pairs.
constexpr bool isHalf(Type type) {
  return type == Type::f16 || type == Type::bf16 || type == Type::f16x2 || type == Type::bf16x2;
}

}  // namespace stepsize::ptx
