#include "piece_pool.h"

#include "reserve.h"
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
  for (const auto& [size, pieces] : pieces_)
    for (void* piece : pieces.free) give(piece);
}

std::shared_ptr<void> PiecePool::acquire(size_t bytes) {
  // Pinned memory comes in whole pages anyway.
  size_t size = isPinned_ ? 4096 : 256;
  while (size < bytes) size *= 2;
  void* piece = nullptr;
  {
    const std::lock_guard lock(mutex_);
    Pieces& pieces = pieces_[size];
    if (pieces.free.empty()) {
      reserveMore(pieces.free, pieces.count + 1);
    } else {
      piece = pieces.free.back();
      pieces.free.pop_back();
    }
  }
  if (piece == nullptr) {
    if (isPinned_)
      check(cudaMallocHost(&piece, size), "pinned memory");
    else
      check(cudaMalloc(&piece, size), "memory beside its tensors");
    const std::lock_guard lock(mutex_);
    pieces_[size].count++;
  }
  return {piece, [self = shared_from_this(), size](void* done) {
            const std::lock_guard lock(self->mutex_);
            self->pieces_[size].free.push_back(done);
          }};
}

}  // namespace stepsize::cuda
