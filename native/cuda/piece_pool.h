// Keeps pieces of device or pinned memory by size class. Allocating a piece from the CUDA runtime waits for the device
// or takes milliseconds, so pieces are kept until the pool is destroyed.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace stepsize::cuda {

// Device memory. When its last owner releases it, it is reused in stream order.
using DeviceMemory = std::shared_ptr<void>;
// Pinned host memory. A copy from or to pinned memory does not block the host; a copy from other memory may.
using PinnedMemory = std::shared_ptr<void>;

// A pool of memory of one kind.
class PiecePool : public std::enable_shared_from_this<PiecePool> {
 public:
  // A pool of device memory for tables and scratch memory.
  static std::shared_ptr<PiecePool> ofDevice(int index);
  // A pool of pinned memory for data on the way to a device and back.
  static std::shared_ptr<PiecePool> ofPinnedMemory(int index);

  PiecePool(const PiecePool&) = delete;
  PiecePool& operator=(const PiecePool&) = delete;
  ~PiecePool();

  // Returns a piece of at least this many bytes. It goes back to the pool when its last owner releases it, on any
  // thread, and may then be reused at once. Throws CudaError.
  std::shared_ptr<void> acquire(size_t bytes);

 private:
  PiecePool(int device, bool isPinned) : device_(device), isPinned_(isPinned) {}

  const int device_;
  const bool isPinned_;
  std::mutex mutex_;
  struct Pieces {
    std::vector<void*> free;  // has room for all pieces, so that returning one cannot fail
    size_t count = 0;
  };
  std::map<size_t, Pieces> pieces_;  // by size class
};

}  // namespace stepsize::cuda
