#include "memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <iterator>
#include <new>

namespace stepsize::cpu {

namespace {
constexpr int64_t kVectorAlignment = 64;
constexpr int64_t kHugePage = 1 << 21;
constexpr int64_t kSlab = 1 << 24;
// Larger pieces are not cut from a slab.
constexpr int64_t kLargestCut = 1 << 21;
}  // namespace

void* acquireMemory(int64_t bytes) {
  const bool huge = bytes >= kHugePage;
  const int64_t alignment = huge ? kHugePage : kVectorAlignment;
  void* memory = nullptr;
  if (posix_memalign(&memory, static_cast<size_t>(alignment), static_cast<size_t>(bytes > 0 ? bytes : 1)) != 0)
    return nullptr;
  if (huge) madvise(memory, static_cast<size_t>(bytes), MADV_HUGEPAGE);
  return memory;
}

void releaseMemory(void* memory) { std::free(memory); }

void* SlabMemory::acquire(int64_t bytes) {
  if (bytes > kLargestCut) return acquireMemory(bytes);
  const std::lock_guard lock(mutex_);
  const int64_t size = (bytes + kVectorAlignment - 1) / kVectorAlignment * kVectorAlignment;
  if (current_ == nullptr || slabs_[current_].used + size > kSlab) {
    auto* fresh = static_cast<char*>(acquireMemory(kSlab));
    if (fresh == nullptr) return nullptr;
    try {
      slabs_[fresh] = {};
    } catch (const std::bad_alloc&) {
      releaseMemory(fresh);
      return nullptr;
    }
    current_ = fresh;
  }
  Slab& slab = slabs_[current_];
  void* piece = current_ + slab.used;
  slab.used += size;
  slab.pieces++;
  return piece;
}

void SlabMemory::release(void* memory, int64_t bytes) {
  if (bytes > kLargestCut) return releaseMemory(memory);
  const std::lock_guard lock(mutex_);
  // The piece lies in the last slab that begins at or before it.
  const auto found = std::prev(slabs_.upper_bound(static_cast<char*>(memory)));
  if (--found->second.pieces > 0) return;
  if (found->first == current_) current_ = nullptr;
  releaseMemory(found->first);
  slabs_.erase(found);
}

SlabMemory::~SlabMemory() {
  for (const auto& [memory, slab] : slabs_) releaseMemory(memory);
}

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
