// Pinned host memory on the way to the device and back. A copy from or to it lets the host go on, which one from other
// memory may not. Pieces are kept, because pinning takes milliseconds.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace stepsize::cuda {

class Staging {
 public:
  Staging() = default;
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  ~Staging();

  // A piece of at least this many bytes. It goes back when its last owner lets it go, on whatever thread: when the
  // device is done with it. Throws CudaError.
  std::shared_ptr<void> acquire(size_t bytes);

 private:
  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;  // by size
};

}  // namespace stepsize::cuda
