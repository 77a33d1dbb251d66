// The state of a running launch: its blocks, their warps, and the registers of 32 lanes.
#pragma once

#include <algorithm>
#include <cstring>
#include <map>
#include <unordered_map>
#include <vector>

#include "../emulator/cuda_types.h"
#include "program.h"
#include "shadow_memory.h"

namespace stepsize::ptx {

constexpr int kLanes = 32;
constexpr uint32_t kAllLanes = 0xffffffffu;

struct Block;
struct Launch;

// A group of lanes that are at the same instruction.
struct Fragment {
  enum class State : uint8_t { ready, atWarpInstruction, atBarrier };
  uint32_t at, lanes;
  State state;
};

// A cp.async in flight. `group` is the number of times the lane had committed copies before.
struct PendingCopy {
  uint64_t to, from;
  uint32_t bytes, filled;  // bytes of the source and of the target, whose rest becomes zeros
  int group;
};

// A running warp.
struct Warp {
  Block* block;
  uint32_t index;
  uint32_t live;       // lanes that have not returned
  uint32_t phase = 0;  // synchronizations of the warp since the last barrier of the block
  uint32_t* registers = nullptr;
  uint8_t* local = nullptr;
  std::vector<Fragment> fragments;
  std::vector<PendingCopy> copies[kLanes];
  int committed[kLanes];

  uint32_t* words(Register r) { return registers + r.at; }
  uint32_t thread(int lane) const { return index * kLanes + static_cast<uint32_t>(lane); }
};

// A running block.
struct Block {
  Launch* launch;
  uint32_t index, x, y, z;
  uint32_t interval;  // the current interval between two barriers, numbered over the whole process
  uint32_t liveWarps;
  std::vector<uint8_t> shared, local;
  std::vector<ShadowWord> sharedShadow;
  std::vector<uint32_t> registers;
  std::vector<Warp> warps;
  Synchronization synchronization;
};

// A running launch.
struct Launch {
  const Kernel* kernel;
  dim3 grid, blockSize;
  uint32_t dynamicShared;
  std::vector<uint8_t> parameters;
  // The ranges in which the kernel may access memory of tensors, sorted; if empty, it may access all of it.
  std::vector<AddressRange> tensors;
  Random random;
  // The block of each interval, from firstInterval on.
  uint32_t firstInterval = 0;
  std::vector<uint32_t> blockOfInterval = {};
  // By address of an atomic in global memory: what earlier threads at that address had released.
  std::unordered_map<uint64_t, ReleasedIntervals> released = {};
  Allocation* lastAllocation = nullptr;  // most accesses are in the same allocation as the one before
  // For messages:
  const Instruction* current = nullptr;
  uint32_t currentBlock = 0, currentThread = 0;
  std::string finding = {};  // the first finding of the checks

  uint32_t threads() const { return blockSize.x * blockSize.y * blockSize.z; }
};

// Runs a grid to its end. Throws if the kernel fails or the checks find something.
void run(Launch& launch);

// "message in kernel: instruction [block 3 thread 17]"
std::string describe(const Launch& launch, const std::string& message);
// Throws an Error that says where the warp is.
[[noreturn]] void fail(Warp& warp, const std::string& message);
// Notes the finding of a check; the kernel continues.
void find(Launch& launch, const std::string& message);

// Calls f(lane) for the lanes whose bits are set.
template <class F>
void forLanes(uint32_t lanes, const F& f) {
  if (lanes == kAllLanes) {
#pragma GCC ivdep
    for (int lane = 0; lane < kLanes; lane++) f(lane);
    return;
  }
  for (; lanes != 0; lanes &= lanes - 1) f(__builtin_ctz(lanes));
}

// The value of a lane in a register. Values of up to 32 bits take one word per lane; unsigned values of 8 and 16 bits
// are zero-extended.
template <class T>
T laneOf(const uint32_t* words, int lane) {
  if constexpr (sizeof(T) >= 4) {
    T value;
    std::memcpy(&value, words + static_cast<size_t>(lane) * (sizeof(T) / 4), sizeof value);
    return value;
  } else {
    return static_cast<T>(words[lane]);
  }
}
template <class T>
void setLane(uint32_t* words, int lane, T value) {
  if constexpr (sizeof(T) >= 4)
    std::memcpy(words + static_cast<size_t>(lane) * (sizeof(T) / 4), &value, sizeof value);
  else
    words[lane] = static_cast<std::make_unsigned_t<T>>(value);
}

// The bits of a register of any type.
inline uint64_t bitsOf(Warp& warp, Register from, int lane) {
  const uint32_t* words = warp.words(from);
  if (from.bytes == 8) return laneOf<uint64_t>(words, lane);
  return from.bytes == 4 ? words[lane] : words[0] >> lane & 1;
}
inline void setBits(Warp& warp, Register to, int lane, uint64_t bits) {
  if (!to) return;
  uint32_t* words = warp.words(to);
  if (to.bytes == 8)
    setLane(words, lane, bits);
  else if (to.bytes == 4)
    words[lane] = static_cast<uint32_t>(bits);
  else
    words[0] = (words[0] & ~(1u << lane)) | static_cast<uint32_t>(bits & 1) << lane;
}

// The predicates of all lanes, one bit each.
inline uint32_t predicate(Warp& warp, const Instruction& i, int operand) {
  const uint32_t bits = *warp.words(i.from[operand]);
  return i.negated[operand] ? ~bits : bits;
}
inline void setPredicate(Warp& warp, Register to, uint32_t lanes, uint32_t bits) {
  if (!to) return;
  uint32_t& word = *warp.words(to);
  word = (word & ~lanes) | (bits & lanes);
}

// Executes to[0] = F{}(from[0], …) for each lane.
template <class T, class F>
void unary(Warp& warp, const Instruction& i, uint32_t lanes) {
  const uint32_t* a = warp.words(i.from[0]);
  uint32_t* to = warp.words(i.to[0]);
  forLanes(lanes, [=](int lane) { setLane<T>(to, lane, F{}(laneOf<T>(a, lane))); });
}
template <class T, class F>
void binary(Warp& warp, const Instruction& i, uint32_t lanes) {
  const uint32_t *a = warp.words(i.from[0]), *b = warp.words(i.from[1]);
  uint32_t* to = warp.words(i.to[0]);
  forLanes(lanes, [=](int lane) { setLane<T>(to, lane, F{}(laneOf<T>(a, lane), laneOf<T>(b, lane))); });
}
template <class T, class F>
void ternary(Warp& warp, const Instruction& i, uint32_t lanes) {
  const uint32_t *a = warp.words(i.from[0]), *b = warp.words(i.from[1]), *c = warp.words(i.from[2]);
  uint32_t* to = warp.words(i.to[0]);
  forLanes(lanes,
           [=](int lane) { setLane<T>(to, lane, F{}(laneOf<T>(a, lane), laneOf<T>(b, lane), laneOf<T>(c, lane))); });
}

}  // namespace stepsize::ptx
