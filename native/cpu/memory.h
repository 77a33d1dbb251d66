// Memory from the operating system, aligned for vectors. Only memory.cc has Linux-specific code.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>

namespace stepsize::cpu {

// Returns memory, or null if there is none. Large pieces ask for huge pages: a pass over 100 MB then misses the TLB 500
// times less.
void* acquireMemory(int64_t bytes);
// Gives back memory of acquireMemory().
void releaseMemory(void* memory);

// Hands out pieces of memory. Small pieces are cut from slabs, so that they lie in huge pages too; without slabs, AdamW
// over a hundred tensors of 400 KB takes a seventh longer than over one of 40 MB. A slab is released when all its
// pieces have been. Safe to call from several threads.
class SlabMemory {
 public:
  SlabMemory() = default;
  SlabMemory(const SlabMemory&) = delete;
  SlabMemory& operator=(const SlabMemory&) = delete;
  ~SlabMemory();

  // Returns a piece, or null if there is no memory.
  void* acquire(int64_t bytes);
  // Gives a piece back; `bytes` is the size it was acquired with.
  void release(void* memory, int64_t bytes);

 private:
  struct Slab {
    int64_t used = 0;    // bytes cut off so far
    int64_t pieces = 0;  // pieces that are still held
  };

  std::mutex mutex_;
  std::map<char*, Slab> slabs_;
  char* current_ = nullptr;
};

// A buffer that only grows.
class GrowingBuffer {
 public:
  GrowingBuffer() = default;
  GrowingBuffer(GrowingBuffer&& other) noexcept : memory_(other.memory_), bytes_(other.bytes_) {
    other.memory_ = nullptr;
    other.bytes_ = 0;
  }
  GrowingBuffer(const GrowingBuffer&) = delete;
  GrowingBuffer& operator=(const GrowingBuffer&) = delete;
  GrowingBuffer& operator=(GrowingBuffer&&) = delete;
  ~GrowingBuffer() { releaseMemory(memory_); }

  // Returns at least this much memory, owned by this object. The content is lost when the buffer grows. Throws
  // std::bad_alloc.
  void* atLeast(int64_t bytes);

 private:
  void* memory_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace stepsize::cpu
