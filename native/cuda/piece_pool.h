// Pieces of memory by classes of sizes. To get one from the runtime waits for the device or takes milliseconds, so they
// are kept until the pool goes.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace stepsize::cuda {

// Device memory that is handed on in stream order when nobody needs it any more.
using DeviceMemory = std::shared_ptr<void>;
// Pinned host memory: a copy from or to it lets the host go on, which one from other memory may not.
using PinnedMemory = std::shared_ptr<void>;

class PiecePool : public std::enable_shared_from_this<PiecePool> {
 public:
  // For tables and scratch memory on a device.
  static std::shared_ptr<PiecePool> ofDevice(int index);
  // For what is on the way to a device and back.
  static std::shared_ptr<PiecePool> ofPinnedMemory(int index);

  PiecePool(const PiecePool&) = delete;
  PiecePool& operator=(const PiecePool&) = delete;
  ~PiecePool();

  // A piece of at least this many bytes. It goes back when its last owner lets it go, on whatever thread, and may be
  // handed out again at once. Throws CudaError.
  std::shared_ptr<void> acquire(size_t bytes);

 private:
  PiecePool(int device, bool isPinned) : device_(device), isPinned_(isPinned) {}

  const int device_;
  const bool isPinned_;
  std::mutex mutex_;
  struct Pieces {
    std::vector<void*> free;  // with room for all that there are, so that one can always go back
    size_t count = 0;
  };
  std::map<size_t, Pieces> pieces_;  // by size
};

}  // namespace stepsize::cuda
