// Uploads that travel while the device computes: from the host to a slot in a stream of their own, and from there to
// their place in the stream of the work, which is a copy inside the device. Directly, an upload would wait for all work
// before it, which may still read what it overwrites. Two slots: one is filled while the other is emptied.
#pragma once

#include <cstddef>

#include "runtime.h"

namespace stepsize::cuda {

class UploadLane {
 public:
  // Shorter uploads are over before the second stream would have begun.
  static constexpr size_t kFewestBytes = 64 << 10;

  UploadLane() = default;
  UploadLane(const UploadLane&) = delete;
  UploadLane& operator=(const UploadLane&) = delete;
  ~UploadLane();

  // Copies from pinned memory, which must stay until `stream` has come so far. Later work of `stream` finds the bytes.
  void copy(void* to, const void* from, size_t bytes, cudaStream_t stream);

 private:
  struct Slot {
    void* memory = nullptr;
    size_t bytes = 0;
    Event filled{cudaEventDisableTiming}, emptied{cudaEventDisableTiming};
  };
  // False where the device has no memory for it.
  static bool grow(Slot& slot, size_t bytes);

  Stream stream_;
  Slot slots_[2];
  size_t next_ = 0;
};

}  // namespace stepsize::cuda
