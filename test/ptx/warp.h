// A launch under way: its blocks, their warps, and the registers of 32 lanes.
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

// Lanes that are at the same instruction.
struct Fragment {
  enum class State : uint8_t { ready, atWarpInstruction, atBarrier };
  uint32_t at, lanes;
  State state;
};

// A cp.async under way. Group: how many times the lane had committed copies before.
struct PendingCopy {
  uint64_t to, from;
  uint32_t bytes, filled;  // of the source, and of the target, whose rest becomes zeros
  int group;
};

struct Warp {
  Block* block;
  uint32_t index;
  uint32_t live;       // lanes that have not returned
  uint32_t phase = 0;  // synchronizations of the warp since the block's last barrier
  uint32_t* registers = nullptr;
  uint8_t* local = nullptr;
  std::vector<Fragment> fragments;
  std::vector<PendingCopy> copies[kLanes];
  int committed[kLanes];

  uint32_t* words(Register r) { return registers + r.at; }
  uint32_t thread(int lane) const { return index * kLanes + static_cast<uint32_t>(lane); }
};

struct Block {
  Launch* launch;
  uint32_t index, x, y, z;
  uint32_t interval;  // between two barriers: numbered through the process
  uint32_t liveWarps;
  std::vector<uint8_t> shared, local;
  std::vector<ShadowWord> sharedShadow;
  std::vector<uint32_t> registers;
  std::vector<Warp> warps;
  Synchronization synchronization;
};

struct Launch {
  const Kernel* kernel;
  dim3 grid, blockSize;
  uint32_t dynamicShared;
  std::vector<uint8_t> parameters;
  // Where a kernel may touch memory of tensors; all of it where there are none. Sorted.
  std::vector<AddressRange> tensors;
  Random random;
  // What the block that each interval belongs to is, from firstInterval on.
  uint32_t firstInterval = 0;
  std::vector<uint32_t> blockOfInterval = {};
  // By address of an atomic in global memory: what those who came there before had released.
  std::unordered_map<uint64_t, ReleasedIntervals> released = {};
  Allocation* lastAllocation = nullptr;  // most accesses are in the one before
  // For messages.
  const Instruction* current = nullptr;
  uint32_t currentBlock = 0, currentThread = 0;
  std::string finding = {};  // of the checks, the first one

  uint32_t threads() const { return blockSize.x * blockSize.y * blockSize.z; }
};

// Runs a grid to its end; throws what goes wrong, and what the checks find.
void run(Launch& launch);

// "message in kernel: instruction [block 3 thread 17]"
std::string describe(const Launch& launch, const std::string& message);
[[noreturn]] void fail(Warp& warp, const std::string& message);
// Notes what a check has found; the kernel goes on.
void find(Launch& launch, const std::string& message);

template <class F>
void forLanes(uint32_t lanes, const F& f) {
  if (lanes == kAllLanes) {
#pragma GCC ivdep
    for (int lane = 0; lane < kLanes; lane++) f(lane);
    return;
  }
  for (; lanes != 0; lanes &= lanes - 1) f(__builtin_ctz(lanes));
}

// Numbers of up to 32 bits have a word for each lane, unsigned ones of 8 and 16 bits with zeros above.
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

// A register's bits, whatever its type.
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

// Predicates of all lanes, one bit each.
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
