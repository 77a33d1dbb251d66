// Memory from the operating system, aligned for vectors. What is particular to Linux stands here alone.
#pragma once

#include <cstdint>

namespace stepsize::cpu {

// Null when there is none. Large pieces ask for huge pages: a pass over 100 MB then misses the TLB 500 times less.
void* acquireMemory(int64_t bytes);
void releaseMemory(void* memory);

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
