// Addresses: which memory an address refers to, and whether a kernel may access it.
#pragma once

#include "warp.h"

namespace stepsize::ptx {

// A generic address outside global memory has a bit that names its space.
constexpr uint64_t kSharedTag = uint64_t{1} << 62, kLocalTag = uint64_t{1} << 61, kParameterTag = uint64_t{1} << 60;
constexpr uint64_t kSpaceTags = kSharedTag | kLocalTag | kParameterTag;

constexpr uint64_t tagOf(Space space) {
  switch (space) {
    case Space::shared: return kSharedTag;
    case Space::local: return kLocalTag;
    case Space::parameter: return kParameterTag;
    default: return 0;
  }
}

// Extends a value to 64 bits, with the sign or with zeros, depending on the type.
inline uint64_t extended(uint64_t bits, Type type) {
  const int unused = 64 - 8 * bytesOf(type);
  if (isSigned(type)) return static_cast<uint64_t>(static_cast<int64_t>(bits << unused) >> unused);
  return bits << unused >> unused;
}

// A place in memory and its shadow.
struct Place {
  uint8_t* data;
  ShadowWord* shadow;  // null if there is none
  uint32_t byte;       // byte within the first shadow word
  bool isGlobal;
};
// The place of an address. Fails if the address is misaligned or outside the memory that the kernel may access.
Place placeAt(Warp& warp, int lane, uint64_t address, Space space, uint32_t bytes, bool writes);
// Notes an access for the checks.
void note(Warp& warp, int lane, const Place& place, uint32_t bytes, bool writes, bool isStrong);
// The address operand of an instruction, with its offset.
uint64_t addressOf(Warp& warp, const Instruction& i, int lane);

}  // namespace stepsize::ptx
