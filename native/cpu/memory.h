// Memory from the operating system, aligned for vectors. What is particular to Linux stands here alone.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>

namespace stepsize::cpu {

// Null when there is none. Large pieces ask for huge pages: a pass over 100 MB then misses the TLB 500 times less.
void* acquireMemory(int64_t bytes);
void releaseMemory(void* memory);

// Hands out pieces; small ones are cut from slabs, so that they lie in huge pages too: AdamW over a hundred tensors of
// 400 KB otherwise takes a seventh longer than over one of 40 MB. A slab goes back when all its pieces have. Threads
// may share it.
class SlabMemory {
 public:
  SlabMemory() = default;
  SlabMemory(const SlabMemory&) = delete;
  SlabMemory& operator=(const SlabMemory&) = delete;
  ~SlabMemory();

  void* acquire(int64_t bytes);
  void release(void* memory, int64_t bytes);

 private:
  struct Slab {
    int64_t used = 0;    // bytes cut off so far
    int64_t pieces = 0;  // of them still held
  };

  std::mutex mutex_;
  std::map<char*, Slab> slabs_;
  char* current_ = nullptr;
};

// A piece that only grows.
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

  // The content is lost when it grows. Throws std::bad_alloc.
  void* atLeast(int64_t bytes);

 private:
  void* memory_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace stepsize::cpu
