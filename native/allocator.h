// A caching allocator in stream order.
//
// A tensor's memory may be handed on the moment its last handle is gone, although the device may still be busy with
// records that use it: whoever gets the memory next uses it in records that come later in the same stream. So a block
// is never shared between the device's future and its past, no locks are needed, run-ahead costs no memory, and which
// block a tensor gets is the same in every run. Only the thread that owns the device calls this.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_set>
#include <vector>

#include "backend.h"

namespace stepsize {

struct MemoryStatistics {
  int64_t allocated = 0;  // held by tensors
  int64_t cached = 0;     // free, kept for the next tensors
  int64_t peak = 0;       // the largest sum of both
  int64_t limit = 0;      // 0: none
  int64_t tensors = 0;
};

// Memory of one or more tensors (a reshape shares it).
struct Block {
  void* memory = nullptr;
  int64_t bytes = 0;
  int64_t handles = 0;
  const char* origin = "";  // the operation that made it, for reports
  Shape shape;
  uint32_t version = 0;  // counts writes in place
};

struct OutOfMemory : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Allocator {
 public:
  Allocator(Device& device, int64_t limit) : device_(device) { statistics_.limit = limit; }
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;
  ~Allocator();

  // Throws OutOfMemory, which names the largest holders.
  Block* allocate(const TensorSpec& spec, const char* origin);
  void retain(Block* block) { block->handles++; }
  void release(Block* block);
  // Gives cached memory back to the system.
  void trim();
  const MemoryStatistics& statistics() const { return statistics_; }

 private:
  std::string largestHolders() const;

  Device& device_;
  MemoryStatistics statistics_;
  std::unordered_set<Block*> live_;
  std::map<int64_t, std::vector<void*>> free_;  // by size class
};

}  // namespace stepsize
