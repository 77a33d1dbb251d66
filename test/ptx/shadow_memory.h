// The shadow of memory: which threads wrote and read a word, and which bytes are initialized. A race is a pair of
// accesses, at least one of them a write, by two threads with nothing that orders them.
//
// Accesses are ordered by a barrier of the block, by __syncwarp, and by a fence and then an atomic in one thread
// followed by an atomic on the same address and then a fence in the other. Shuffles, matrix instructions and lockstep
// execution order nothing.
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

// The last access to some of the four bytes of a word.
struct Access {
  uint32_t interval = 0;  // interval of the block, between two barriers
  uint16_t thread = 0;
  uint16_t phase = 0;  // phase of the warp within the interval
  uint8_t bytes = 0;   // one bit per byte
  bool isStrong = false;
};
// The shadow of four bytes.
struct ShadowWord {
  // Two readers are kept, because one of them may be the thread that writes next.
  Access write, read, otherRead;
  uint8_t initialized = 0;  // one bit per byte
};

// Memory that the runtime has allocated. It has a shadow if the checks are on.
struct Allocation {
  uint64_t begin, end;
  std::vector<ShadowWord> shadow;
  bool holdsTensors = false;  // if set, a kernel may only access the tensors of its call
};
// All allocations of device memory.
class DeviceMemory {
 public:
  Allocation* find(uint64_t address);
  void add(uint64_t begin, uint64_t bytes);
  void remove(uint64_t begin);
  void setInitialized(uint64_t begin, uint64_t bytes, bool initialized);
  void copyInitialized(uint64_t to, uint64_t from, uint64_t bytes);
  // The offset of the first uninitialized byte; `bytes` if there is none.
  uint64_t firstUninitialized(uint64_t begin, uint64_t bytes);

 private:
  std::map<uint64_t, std::unique_ptr<Allocation>> allocations_;
};
// The device memory of the process. Use it under lockMachine() only.
DeviceMemory& deviceMemory();

// The point in another block up to which its accesses came before: an interval, and a thread in it.
struct Released {
  uint32_t interval, thread;
};
using ReleasedIntervals = std::map<uint32_t, Released>;  // by block

// The accesses of other blocks that are ordered before this block.
struct Synchronization {
  ReleasedIntervals acquired, pending;   // acquired by a fence; pending: by atomics without a later fence
  std::vector<uint32_t> fencedInterval;  // per thread: when it last made its writes visible; 0 for never
};

// Notes an access and checks for a race with earlier ones.
void noteAccess(Warp& warp, int lane, ShadowWord* words, uint32_t firstByte, uint32_t bytes, bool writes, bool isStrong,
                bool isGlobal);
// Notes an atomic operation on global memory.
void noteAtomic(Warp& warp, int lane, uint64_t address);
// Notes a fence.
void noteFence(Warp& warp, uint32_t lanes);

}  // namespace stepsize::ptx
