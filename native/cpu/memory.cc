#include "memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <new>

namespace stepsize::cpu {

namespace {
constexpr int64_t kVectorAlignment = 64;
constexpr int64_t kHugePage = 1 << 21;
}  // namespace

void* acquireMemory(int64_t bytes) {
  const bool huge = bytes >= 2 * kHugePage;
  const int64_t alignment = huge ? kHugePage : kVectorAlignment;
  void* memory = nullptr;
  if (posix_memalign(&memory, static_cast<size_t>(alignment), static_cast<size_t>(bytes > 0 ? bytes : 1)) != 0)
    return nullptr;
  if (huge) madvise(memory, static_cast<size_t>(bytes), MADV_HUGEPAGE);
  return memory;
}

void releaseMemory(void* memory) { std::free(memory); }

void* GrowingBuffer::atLeast(int64_t bytes) {
  if (bytes <= bytes_ && memory_ != nullptr) return memory_;
  releaseMemory(memory_);
  bytes_ = 0;
  memory_ = acquireMemory(bytes);
  if (memory_ == nullptr) throw std::bad_alloc();
  bytes_ = bytes;
  return memory_;
}

}  // namespace stepsize::cpu
