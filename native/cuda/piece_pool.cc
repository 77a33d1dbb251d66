#include "staging.h"

#include "runtime.h"

namespace stepsize::cuda {

namespace {

size_t sizeClass(size_t bytes) {
  size_t size = 4096;
  while (size < bytes) size *= 2;
  return size;
}

}  // namespace

Staging::~Staging() {
  for (const auto& [size, pieces] : free_)
    for (void* piece : pieces) cudaFreeHost(piece);
}

std::shared_ptr<void> Staging::acquire(size_t bytes) {
  const size_t size = sizeClass(bytes);
  void* piece = nullptr;
  {
    const std::lock_guard lock(mutex_);
    std::vector<void*>& free = free_[size];
    if (!free.empty()) {
      piece = free.back();
      free.pop_back();
    }
  }
  if (piece == nullptr) check(cudaMallocHost(&piece, size), "pinned memory");
  return {piece, [this, size](void* done) {
            const std::lock_guard lock(mutex_);
            free_[size].push_back(done);
          }};
}

}  // namespace stepsize::cuda
