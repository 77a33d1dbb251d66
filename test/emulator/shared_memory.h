// The shared memory of a block, in one arena. Each array lies between zones that AddressSanitizer watches. It is
// initialized with NaN, so that reading a value that was never written shows in the result.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "fiber.h"
#include "shared_allowance.h"

namespace stepsize::emulator {

// The shared memory of the running block.
class SharedMemory {
 public:
  SharedMemory() : arena_(static_cast<char*>(aligned_alloc(kAlignment, kCapacity))) {}
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() {
    close();
    free(arena_);
  }

  void begin(SharedBytes bytes) {
    variables_.clear();
    limit_ = bytes.limit;
    used_ = top_ = 0;
#if defined(__SANITIZE_ADDRESS__)
    __asan_poison_memory_region(arena_, kCapacity);
#endif
    dynamic_ = bytes.dynamic ? allocate(bytes.dynamic, kAlignment) : nullptr;
  }
  void close() {
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(arena_, kCapacity);
#endif
  }

  char* dynamic() const { return dynamic_; }
  bool contains(const void* address) const { return address >= arena_ && address < arena_ + kCapacity; }

  // The memory of a variable, allocated when the first thread reaches its declaration. The address `tag` identifies the
  // variable.
  STEPSIZE_EMULATOR_INTERNAL char* variable(const void* tag, size_t bytes, size_t alignment) {
    for (size_t i = 0; i < variables_.size(); i++)
      if (variables_.data()[i].tag == tag) return variables_.data()[i].memory;
    variables_.push_back({tag, allocate(bytes, std::max<size_t>(alignment, 16))});
    return variables_.back().memory;
  }

 private:
  struct Variable {
    const void* tag;
    char* memory;
  };
  static constexpr size_t kCapacity = 1 << 20, kAlignment = 1024, kRedZone = 64;

  char* allocate(size_t bytes, size_t alignment) {
    used_ += bytes;
    const size_t offset = (top_ + kRedZone + alignment - 1) / alignment * alignment;
    if (used_ > limit_ || offset + bytes + kRedZone > kCapacity)
      throw Error("shared memory: " + std::to_string(used_) + " bytes, over the limit of " + std::to_string(limit_));
    top_ = offset + bytes;
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(arena_ + offset, bytes);
#endif
    memset(arena_ + offset, 0xff, bytes);
    return arena_ + offset;
  }

  char* arena_;
  char* dynamic_ = nullptr;
  size_t used_ = 0, top_ = 0, limit_ = 0;
  std::vector<Variable> variables_;
};

}  // namespace stepsize::emulator
