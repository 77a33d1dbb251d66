// Addresses: which memory one means, and whether a kernel may go there.
#pragma once

#include "warp.h"

namespace stepsize::ptx {

// A generic address of another space than global memory has a bit that says so.
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

// Sign-extended to 64 bits, or with zeros above, as the type says.
inline uint64_t extended(uint64_t bits, Type type) {
  const int unused = 64 - 8 * bytesOf(type);
  if (isSigned(type)) return static_cast<uint64_t>(static_cast<int64_t>(bits << unused) >> unused);
  return bits << unused >> unused;
}

struct Place {
  uint8_t* data;
  ShadowWord* shadow;  // null where none is kept
  uint32_t byte;       // within the shadow's first word
  bool isGlobal;
};
// Fails for a misaligned address, and for one outside of what the kernel may touch.
Place placeAt(Warp& warp, int lane, uint64_t address, Space space, uint32_t bytes, bool writes);
void note(Warp& warp, int lane, const Place& place, uint32_t bytes, bool writes, bool isStrong);
// That of an instruction's operand, with its offset.
uint64_t addressOf(Warp& warp, const Instruction& i, int lane);

}  // namespace stepsize::ptx
