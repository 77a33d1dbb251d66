#include "shadow_memory.h"

#include <algorithm>

#include "warp.h"

namespace stepsize::ptx {

namespace {

// Larger allocations have no shadow, because a shadow is ten times as large as the memory.
constexpr uint64_t kMaxShadowed = 64 << 20;

void takeNewer(ReleasedIntervals& into, const ReleasedIntervals& from) {
  for (const auto& [block, released] : from) {
    Released& known = into[block];
    if (released.interval >= known.interval) known = released;
  }
}

bool isOrdered(const Warp& warp, uint32_t thread, const Access& before) {
  const Block& current = *warp.block;
  const Launch& launch = *current.launch;
  if (before.interval < launch.firstInterval) return true;
  const uint32_t block = launch.blockOfInterval[before.interval - launch.firstInterval];
  if (block == current.index)
    return before.thread == thread || before.interval < current.interval ||
           (before.thread / kLanes == warp.index && before.phase < warp.phase);
  const auto found = current.synchronization.acquired.find(block);
  if (found == current.synchronization.acquired.end()) return false;
  const Released& released = found->second;
  return before.interval < released.interval ||
         (before.interval == released.interval && before.thread == released.thread);
}

void expectOrdered(const Warp& warp, uint32_t thread, const Access& before, const Access& now, const char* kind) {
  if ((before.bytes & now.bytes) == 0 || (before.isStrong && now.isStrong)) return;
  if (isOrdered(warp, thread, before)) return;
  Launch& launch = *warp.block->launch;
  launch.currentThread = thread;
  const bool isSameBlock = launch.blockOfInterval[before.interval - launch.firstInterval] == warp.block->index;
  find(launch, std::string("race, ") + kind + " thread " + std::to_string(before.thread) + " of " +
                   (isSameBlock ? "the same" : "another") + " block");
}

// Another access of the same thread to a word is added to its last one.
void extend(Access& kept, const Access& now) {
  const bool isSame = kept.interval == now.interval && kept.thread == now.thread;
  const uint8_t before = isSame ? kept.bytes : 0;
  kept = now;
  kept.bytes |= before;
}

}  // namespace

DeviceMemory& deviceMemory() {
  static auto& memory = *new DeviceMemory;
  return memory;
}

Allocation* DeviceMemory::find(uint64_t address) {
  auto above = allocations_.upper_bound(address);
  if (above == allocations_.begin()) return nullptr;
  Allocation& before = *(--above)->second;
  return address < before.end ? &before : nullptr;
}

void DeviceMemory::add(uint64_t begin, uint64_t bytes) {
  auto made = std::make_unique<Allocation>();
  made->begin = begin;
  made->end = begin + bytes;
  if (settings().checks && bytes < kMaxShadowed) made->shadow.resize((bytes + 3) / 4);
  allocations_[begin] = std::move(made);
}

void DeviceMemory::remove(uint64_t begin) { allocations_.erase(begin); }

void DeviceMemory::setInitialized(uint64_t begin, uint64_t bytes, bool initialized) {
  Allocation* allocation = find(begin);
  if (!allocation || allocation->shadow.empty()) return;
  for (uint64_t at = begin - allocation->begin; at < begin + bytes - allocation->begin; at++) {
    ShadowWord& word = allocation->shadow[at / 4];
    const uint8_t kept = word.initialized, bit = static_cast<uint8_t>(1 << at % 4);
    word = {};
    word.initialized = static_cast<uint8_t>(initialized ? kept | bit : kept & ~bit);
  }
}

void DeviceMemory::copyInitialized(uint64_t to, uint64_t from, uint64_t bytes) {
  const Allocation* source = find(from);
  setInitialized(to, bytes, true);
  if (!source || source->shadow.empty()) return;
  for (uint64_t i = 0; i < bytes; i++) {
    const uint64_t at = from + i - source->begin;
    if (!(source->shadow[at / 4].initialized >> at % 4 & 1)) setInitialized(to + i, 1, false);
  }
}

uint64_t DeviceMemory::firstUninitialized(uint64_t begin, uint64_t bytes) {
  const Allocation* allocation = find(begin);
  if (!allocation || allocation->shadow.empty()) return bytes;
  for (uint64_t i = 0; i < bytes; i++) {
    const uint64_t at = begin + i - allocation->begin;
    if (!(allocation->shadow[at / 4].initialized >> at % 4 & 1)) return i;
  }
  return bytes;
}

void noteAccess(Warp& warp, int lane, ShadowWord* words, uint32_t firstByte, uint32_t bytes, bool writes, bool isStrong,
                bool isGlobal) {
  Launch& launch = *warp.block->launch;
  const uint32_t thread = warp.thread(lane);
  Access now{warp.block->interval, static_cast<uint16_t>(thread), static_cast<uint16_t>(warp.phase), 0, isStrong};
  for (ShadowWord* word = words; bytes > 0; word++) {
    const uint32_t count = std::min(4 - firstByte, bytes);
    now.bytes = static_cast<uint8_t>(((1u << count) - 1) << firstByte);
    expectOrdered(warp, thread, word->write, now, writes ? "write after write by" : "read after write by");
    if (writes) {
      expectOrdered(warp, thread, word->read, now, "write after read by");
      expectOrdered(warp, thread, word->otherRead, now, "write after read by");
      extend(word->write, now);
      word->initialized |= now.bytes;
    } else {
      if ((word->initialized & now.bytes) != now.bytes) {
        launch.currentThread = thread;
        find(launch, std::string("read of uninitialized ") + (isGlobal ? "global" : "shared") + " memory");
      }
      const bool isSame = word->read.interval == now.interval && word->read.thread == now.thread;
      // The other reader is kept if it is of a third warp: a later write may not be ordered after that one.
      const bool keepsOther = word->otherRead.interval == word->read.interval &&
                              word->otherRead.thread / kLanes != word->read.thread / kLanes &&
                              word->otherRead.thread / kLanes != warp.index;
      if (!isSame && word->read.interval >= launch.firstInterval && !keepsOther) word->otherRead = word->read;
      extend(word->read, now);
    }
    bytes -= count;
    firstByte = 0;
  }
}

void noteAtomic(Warp& warp, int lane, uint64_t address) {
  Block& block = *warp.block;
  Synchronization& synchronization = block.synchronization;
  ReleasedIntervals& released = block.launch->released[address];
  takeNewer(synchronization.pending, released);
  const uint32_t thread = warp.thread(lane);
  if (synchronization.fencedInterval[thread] == 0) return;
  takeNewer(released, {{block.index, {synchronization.fencedInterval[thread], thread}}});
  takeNewer(released, synchronization.acquired);
}

void noteFence(Warp& warp, uint32_t lanes) {
  Block& block = *warp.block;
  for (; lanes != 0; lanes &= lanes - 1)
    block.synchronization.fencedInterval[warp.thread(__builtin_ctz(lanes))] = block.interval;
  takeNewer(block.synchronization.acquired, block.synchronization.pending);
}

}  // namespace stepsize::ptx
