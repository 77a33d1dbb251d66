#include "piece_pool.h"

#include "runtime.h"

namespace stepsize::cuda {

std::shared_ptr<PiecePool> PiecePool::ofDevice(int index) {
  return std::shared_ptr<PiecePool>(new PiecePool(index, false));
}

std::shared_ptr<PiecePool> PiecePool::ofPinnedMemory(int index) {
  return std::shared_ptr<PiecePool>(new PiecePool(index, true));
}

PiecePool::~PiecePool() {
  const CurrentDevice current(device_);
  const auto give = isPinned_ ? cudaFreeHost : cudaFree;
  for (const auto& [size, pieces] : free_)
    for (void* piece : pieces) give(piece);
}

std::shared_ptr<void> PiecePool::acquire(size_t bytes) {
  // Whole pages are pinned anyway.
  size_t size = isPinned_ ? 4096 : 256;
  while (size < bytes) size *= 2;
  void* piece = nullptr;
  {
    const std::lock_guard lock(mutex_);
    std::vector<void*>& free = free_[size];
    if (!free.empty()) {
      piece = free.back();
      free.pop_back();
    }
  }
  if (piece == nullptr && isPinned_) check(cudaMallocHost(&piece, size), "pinned memory");
  if (piece == nullptr) check(cudaMalloc(&piece, size), "memory beside its tensors");
  return {piece, [self = shared_from_this(), size](void* done) {
            const std::lock_guard lock(self->mutex_);
            self->free_[size].push_back(done);
          }};
}

}  // namespace stepsize::cuda
