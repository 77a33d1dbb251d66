// What is known of memory beside its bytes: who wrote and read it, and whether anything did. A race is a pair of
// accesses of which one is a write, by two threads that nothing orders.
//
// What orders accesses: a barrier of the block, __syncwarp, and a fence and an atomic on the one side with an atomic on
// the same address and a fence on the other. Shuffles, matrix instructions and running in step order nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace stepsize::ptx {

struct Launch;
struct Warp;

struct AddressRange {
  uint64_t begin, end;
};

// By whom and when some of a word's four bytes were accessed last.
struct Access {
  uint32_t interval = 0;  // of the block: between two barriers
  uint16_t thread = 0;
  uint16_t phase = 0;  // of the warp, within the interval
  uint8_t bytes = 0;   // a bit for each
  bool isStrong = false;
};
struct ShadowWord {
  // Of readers two are kept, since one of them may be the thread that writes next.
  Access write, read, otherRead;
  uint8_t initialized = 0;  // a bit for each byte
};

// Memory that the runtime has given out. Shadows are kept where the checks are on.
struct Allocation {
  uint64_t begin, end;
  std::vector<ShadowWord> shadow;
  bool holdsTensors = false;  // then a kernel may touch those of its call alone
};
class DeviceMemory {
 public:
  Allocation* find(uint64_t address);
  void add(uint64_t begin, uint64_t bytes);
  void remove(uint64_t begin);
  void setInitialized(uint64_t begin, uint64_t bytes, bool initialized);
  void copyInitialized(uint64_t to, uint64_t from, uint64_t bytes);
  // The first byte that nothing has written; `bytes` if there is none.
  uint64_t firstUninitialized(uint64_t begin, uint64_t bytes);

 private:
  std::map<uint64_t, std::unique_ptr<Allocation>> allocations_;
};
// To be used under lockMachine().
DeviceMemory& deviceMemory();

// The interval of another block, and the thread in it, up to which accesses came before.
struct Released {
  uint32_t interval, thread;
};
using ReleasedIntervals = std::map<uint32_t, Released>;  // by block

// What a block knows of others.
struct Synchronization {
  ReleasedIntervals acquired, pending;   // by a fence, and by atomics that no fence has followed yet
  std::vector<uint32_t> fencedInterval;  // of each thread: when it last made its writes visible; 0 for never
};

void noteAccess(Warp& warp, int lane, ShadowWord* words, uint32_t firstByte, uint32_t bytes, bool writes, bool isStrong,
                bool isGlobal);
void noteAtomic(Warp& warp, int lane, uint64_t address);
void noteFence(Warp& warp, uint32_t lanes);

}  // namespace stepsize::ptx
