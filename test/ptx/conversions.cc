// Moves, packing, and conversions between types and between address spaces.
#include <algorithm>
#include <cmath>
#include <limits>

#include "floats.h"
#include "memory_access.h"
#include "semantics.h"
#include "warp.h"

namespace stepsize::ptx {

namespace {

template <class T>
struct Copy {
  T operator()(T x) const { return x; }
};

// Moves between registers of different widths.
void moveBits(Warp& warp, const Instruction& i, uint32_t lanes) {
  forLanes(lanes, [&](int lane) { setBits(warp, i.to[0], lane, bitsOf(warp, i.from[0], lane)); });
}

uint64_t lowest(uint64_t value, uint32_t bits) { return bits == 64 ? value : value & ((uint64_t{1} << bits) - 1); }

// immediate: the bits of an element. elements: the number of elements.
void pack(Warp& warp, const Instruction& i, uint32_t lanes) {
  forLanes(lanes, [&](int lane) {
    uint64_t packed = 0;
    for (int e = 0; e < i.elements; e++)
      packed |= lowest(bitsOf(warp, i.from[e], lane), i.immediate) << (static_cast<uint32_t>(e) * i.immediate);
    setBits(warp, i.to[0], lane, packed);
  });
}
void unpack(Warp& warp, const Instruction& i, uint32_t lanes) {
  forLanes(lanes, [&](int lane) {
    const uint64_t packed = bitsOf(warp, i.from[0], lane);
    for (int e = 0; e < i.elements; e++)
      setBits(warp, i.to[e], lane, lowest(packed >> (static_cast<uint32_t>(e) * i.immediate), i.immediate));
  });
}

template <class T>
T fromBits(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
template <class T>
uint64_t toBits(T value) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}
double floatOf(uint64_t bits, Type type) {
  return type == Type::f64 ? fromBits<double>(bits) : static_cast<double>(fromBits<float>(bits));
}

double roundToInteger(double x, Rounding rounding) {
  switch (rounding) {
    case Rounding::toNearest: return std::nearbyint(x);
    case Rounding::toZero: return std::trunc(x);
    case Rounding::toDown: return std::floor(x);
    case Rounding::toUp: return std::ceil(x);
    default: return x;
  }
}

// Clamps to the range of the target type; other conversions keep the lowest bits.
uint64_t integerToInteger(uint64_t bits, const Instruction& i) {
  const auto x = static_cast<int64_t>(extended(bits, i.sourceType));
  if (!i.saturates) return extended(static_cast<uint64_t>(x), i.type);
  const int width = 8 * bytesOf(i.type);
  const bool isHuge = !isSigned(i.sourceType) && x < 0;  // 2⁶³ or more
  if (isSigned(i.type)) {
    const int64_t max = std::numeric_limits<int64_t>::max() >> (64 - width), min = -max - 1;
    return extended(static_cast<uint64_t>(isHuge ? max : std::clamp(x, min, max)), i.type);
  }
  const uint64_t max = ~uint64_t{0} >> (64 - width);
  if (isSigned(i.sourceType) && x < 0) return 0;
  return std::min(static_cast<uint64_t>(x), max);
}

uint64_t integerToFloat(uint64_t bits, const Instruction& i) {
  const auto convert = [&](auto zero) {
    using T = decltype(zero);
    const uint64_t x = extended(bits, i.sourceType);
    return toBits(isSigned(i.sourceType) ? static_cast<T>(static_cast<int64_t>(x)) : static_cast<T>(x));
  };
  return i.type == Type::f32 ? convert(0.0f) : convert(0.0);
}

// A value out of range becomes the nearest limit. NaN becomes 0, or the smallest number if a type has 64 bits.
uint64_t floatToInteger(uint64_t bits, const Instruction& i) {
  double x = floatOf(bits, i.sourceType);
  if (i.flushes && std::fabs(x) < 0x1p-126) x = 0;
  const int width = 8 * bytesOf(i.type);
  if (x != x) return i.sourceType == Type::f64 || width == 64 ? uint64_t{1} << (width - 1) : 0;
  x = roundToInteger(x, i.rounding);
  if (isSigned(i.type)) {
    const double end = std::ldexp(1.0, width - 1);
    const int64_t max = std::numeric_limits<int64_t>::max() >> (64 - width);
    if (x >= end) return static_cast<uint64_t>(max);
    return static_cast<uint64_t>(x < -end ? -max - 1 : static_cast<int64_t>(x));
  }
  if (x >= std::ldexp(1.0, width)) return ~uint64_t{0} >> (64 - width);
  return x < 0 ? 0 : static_cast<uint64_t>(x);
}

uint64_t floatToFloat(uint64_t bits, const Instruction& i) {
  double x = roundToInteger(floatOf(bits, i.sourceType), i.rounding);
  if (i.saturates) x = saturated(x);
  if (i.type == Type::f64) return toBits(canonical(x));
  const float rounded = canonical(static_cast<float>(x));
  return toBits(i.flushes ? flushed(rounded) : rounded);
}

template <uint64_t (*Convert)(uint64_t, const Instruction&)>
void convert(Warp& warp, const Instruction& i, uint32_t lanes) {
  forLanes(lanes, [&](int lane) { setBits(warp, i.to[0], lane, Convert(bitsOf(warp, i.from[0], lane), i)); });
}

void fromBFloat16(Warp& warp, const Instruction& i, uint32_t lanes) {
  forLanes(lanes, [&](int lane) { setLane(warp.words(i.to[0]), lane, floatOfBFloat16(warp.words(i.from[0])[lane])); });
}
void fromHalf(Warp& warp, const Instruction& i, uint32_t lanes) {
  forLanes(lanes, [&](int lane) { setLane(warp.words(i.to[0]), lane, floatOfHalf(warp.words(i.from[0])[lane])); });
}
template <uint32_t (*Round)(float)>
void toOne(Warp& warp, const Instruction& i, uint32_t lanes) {
  forLanes(lanes, [&](int lane) { warp.words(i.to[0])[lane] = Round(laneOf<float>(warp.words(i.from[0]), lane)); });
}
// Converts two numbers; the first operand becomes the upper half.
template <uint32_t (*Round)(float)>
void toPair(Warp& warp, const Instruction& i, uint32_t lanes) {
  forLanes(lanes, [&](int lane) {
    const uint32_t upper = Round(laneOf<float>(warp.words(i.from[0]), lane));
    warp.words(i.to[0])[lane] = upper << 16 | Round(laneOf<float>(warp.words(i.from[1]), lane));
  });
}

Execute halfConversionOf(const Opcode& opcode, const Instruction& i) {
  if (i.flushes || i.saturates || i.rounding != Rounding::nearest || opcode.has("relu")) return nullptr;
  if (i.type == Type::f32) return i.sourceType == Type::bf16 ? fromBFloat16 : fromHalf;
  if (i.sourceType != Type::f32) return nullptr;
  if (i.type == Type::bf16) return toOne<bfloat16Of>;
  if (i.type == Type::f16) return toOne<halfOf>;
  return i.type == Type::bf16x2 ? toPair<bfloat16Of> : toPair<halfOf>;
}

void decodeCvt(Operands& operands) {
  Instruction& i = operands.instruction();
  operands.to(0, 0, i.type);
  for (size_t at = 1; at < operands.count(); at++) operands.from(static_cast<int>(at) - 1, at, i.sourceType);
  const bool roundsToInteger = i.rounding >= Rounding::toNearest;
  if (i.type == Type::tf32) {
    const bool isPlain = operands.opcode().has("rn") && !i.saturates && !operands.opcode().has("relu");
    i.execute = isPlain && i.sourceType == Type::f32 ? toOne<tf32Of> : nullptr;
  } else if (isHalf(i.type) || isHalf(i.sourceType)) {
    i.execute = halfConversionOf(operands.opcode(), i);
  } else if (isFloat(i.type)) {
    // Rounding in other directions is not used anywhere.
    if (i.rounding != Rounding::nearest && !roundsToInteger) return;
    i.execute = isFloat(i.sourceType) ? convert<floatToFloat> : convert<integerToFloat>;
  } else if (isFloat(i.sourceType)) {
    i.execute = roundsToInteger ? convert<floatToInteger> : nullptr;
  } else {
    i.execute = convert<integerToInteger>;
  }
}

void decodeMove(Operands& operands) {
  Instruction& i = operands.instruction();
  const bool unpacks = operands.text(0)[0] == '{', packs = operands.text(1)[0] == '{';
  if (!unpacks && !packs) {
    operands.all();
    const uint8_t to = i.to[0].bytes, from = i.from[0].bytes;
    i.execute = to == 4 && from == 4   ? unary<uint32_t, Copy<uint32_t>>
                : to == 8 && from == 8 ? unary<uint64_t, Copy<uint64_t>>
                                       : moveBits;
    return;
  }
  const auto elements = Operands::vector(operands.text(unpacks ? 0 : 1));
  i.elements = static_cast<int>(elements.size());
  i.immediate = 8 * static_cast<uint32_t>(bytesOf(i.type)) / static_cast<uint32_t>(i.elements);
  const Type element = i.immediate == 32 ? Type::b32 : Type::b16;
  for (size_t e = 0; e < elements.size(); e++) (unpacks ? i.to[e] : i.from[e]) = operands.read(elements[e], element);
  if (unpacks)
    operands.from(0, 1, i.type);
  else
    operands.to(0, 0, i.type);
  i.execute = unpacks ? unpack : pack;
}

// operation: 1 from a generic address, 0 to one.
void convertAddress(Warp& warp, const Instruction& i, uint32_t lanes) {
  const uint64_t tag = tagOf(i.space);
  forLanes(lanes, [&](int lane) {
    const uint64_t address = bitsOf(warp, i.from[0], lane);
    if (i.operation == 0) return setBits(warp, i.to[0], lane, address | tag);
    if ((address & kSpaceTags) != tag) fail(warp, "cvta.to of an address of another space");
    setBits(warp, i.to[0], lane, address & ~tag);
  });
}

void isInSpace(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint32_t bits = 0;
  for (int lane = 0; lane < kLanes; lane++)
    bits |= static_cast<uint32_t>((bitsOf(warp, i.from[0], lane) & kSpaceTags) == tagOf(i.space)) << lane;
  setPredicate(warp, i.to[0], lanes, bits);
}

}  // namespace

bool decodeConversion(Operands& operands) {
  Instruction& i = operands.instruction();
  const std::string_view name = operands.opcode().name();
  if (name == "cvt") {
    decodeCvt(operands);
  } else if (name == "mov" && i.type != Type::predicate) {
    decodeMove(operands);
  } else if (name == "cvta") {
    operands.all();
    i.operation = operands.opcode().has("to");
    i.space = operands.space();
    i.execute = convertAddress;
  } else if (name == "isspacep") {
    operands.to(0, 0, Type::predicate);
    operands.from(0, 1, Type::b64);
    i.space = operands.space();
    i.execute = isInSpace;
  } else {
    return false;
  }
  return true;
}

}  // namespace stepsize::ptx
